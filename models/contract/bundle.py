"""The bundle: an immutable, versioned directory, the only thing that crosses from training to the service.

```
<bundle id>/
  manifest.json                 written last: schema, sha256 and size of every file, configuration, statistics, metrics
  items.jsonl                   the catalogue, a row an item number
  popularity.npy                (n_items,) float32, recency-weighted interaction counts
  cf.safetensors                the global CF model
  communities.safetensors       anchors (q, d) float32; with user-and-item assignment also items (n_items, q) bool
  profiles/                     what `localrec publish` writes to Redis, parquet
  checkpoint/                   base model: an ordinary checkpoint whose vocabulary is, or ends in, the catalogue
  title_tokens.safetensors      title form only: what each item looks like in a prompt
  adapters/global, adapters/c00 …   one PEFT LoRA adapter each
  portrait.json                 optional, for a person: the communities, see :mod:`models.contract.portrait`
  probe.safetensors             what each adapter must answer to one prompt: :mod:`models.contract.probe`
  collm/, hatllm/, ulmrec/, l2rec/   optional further models, each with checkpoint, adapters and probe of its own: the
                                modules of these names in :mod:`models.contract`
```

The id ends in a digest of the contents, so a name never means two things.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, get_args

import msgspec

from models.contract.affinity import Kernel
from models.contract.errors import BundleError
from models.contract.fusion import FusionMethod
from models.contract.selection import MAX_VOTER_WEIGHT, FusionSettings, ServedVoter
from models.contract.specs import (
    CoLLMSpec,
    FurtherPart,
    FurtherSpec,
    HatLLMSpec,
    L2RecSpec,
    ModelSpec,
    Part,
    ULMRecSpec,
)

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"
CHECKSUM = "checksum"  # of the manifest's other fields, in the manifest
CATALOGUE = "items.jsonl"
POPULARITY = "popularity.npy"
CF_MODEL = "cf.safetensors"
COMMUNITIES = "communities.safetensors"
PROFILES = "profiles/users.parquet"
CHECKPOINT = "checkpoint"
TITLE_TOKENS = "title_tokens.safetensors"
PROBE = "probe.safetensors"
GLOBAL_ADAPTER = "global"

VoterWeight = Annotated[float, msgspec.Meta(ge=0, le=MAX_VOTER_WEIGHT)]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Checksum and size of one file."""

    sha256: str
    bytes: int


class ServingSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults of the `local` pipeline, chosen on validation data. ``voters`` are those beside the communities."""

    method: FusionMethod
    k: float
    candidates: int
    voters: dict[ServedVoter, VoterWeight] = {}

    def fusion(self) -> FusionSettings:
        """The same for the contract's functions."""
        return FusionSettings(self.method, self.k, self.candidates, tuple(self.voters.items()))

    @classmethod
    def of(cls, settings: FusionSettings) -> Self:
        """The same for a manifest. Raises msgspec.ValidationError where somebody votes whom the service cannot ask."""
        voters = msgspec.convert(dict(settings.others), dict[ServedVoter, VoterWeight])
        return cls(settings.method, settings.k, settings.candidates, voters)


class CommunitySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One community: its adapter, how many training users belong to it, and words for a person."""

    adapter: str
    n_users: int
    name: str = ""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contents of ``manifest.json``. ``bandwidth`` and ``kernel`` are those that tell who belongs to a community."""

    schema_version: int
    bundle_id: str
    created_at: str
    embedding_size: int
    bandwidth: float
    kernel: Kernel
    model: ModelSpec
    serving: ServingSpec
    communities: tuple[CommunitySpec, ...]
    files: dict[str, FileEntry]
    config: dict[str, Any]
    data_statistics: dict[str, Any]
    metrics: dict[str, Any]
    collm: CoLLMSpec | None = None
    hatllm: HatLLMSpec | None = None
    ulmrec: ULMRecSpec | None = None
    l2rec: L2RecSpec | None = None

    @property
    def further(self) -> dict[FurtherPart, FurtherSpec]:
        """What is told of those further models that the bundle has."""
        specs: dict[FurtherPart, FurtherSpec | None] = {part: getattr(self, part) for part in get_args(FurtherPart)}
        return {part: spec for part, spec in specs.items() if spec is not None}

    @property
    def parts(self) -> tuple[Part, ...]:
        """The models that the bundle has."""
        return ("local", *self.further)


@dataclass(frozen=True)
class Bundle:
    """A complete bundle on disk."""

    directory: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        return self.manifest.bundle_id

    @cached_property
    def created_seconds(self) -> float:
        """When it was made, seconds since 1970. Raises BundleError where the manifest does not say."""
        try:
            return datetime.fromisoformat(self.manifest.created_at).timestamp()
        except ValueError as exc:
            raise BundleError(f"{self.id}: created_at: {exc}") from exc

    @property
    def base_id(self) -> str:
        """See :attr:`ServedModel.base_id`, of the local models."""
        return self.local.base_id

    @cached_property
    def local(self) -> "ServedModel":
        """The local models."""
        return self.served("local")

    def served(self, part: Part) -> "ServedModel":
        """One of the bundle's models, as workers serve it. Raises BundleError where the bundle has none such."""
        if part not in self.manifest.parts:
            raise BundleError(f"{self.id}: has no {part} model; expected one of {', '.join(self.manifest.parts)}")
        return ServedModel(self, part)

    def path(self, name: str) -> Path:
        """Path of a file of the bundle."""
        return self.directory / name

    def adapter_name(self, adapter: str) -> str:
        """Name under which workers serve an adapter of this bundle (``global``, ``c00``, …, ``collm``, …)."""
        return f"{self.id}-{adapter}"

    def adapter_path(self, adapter: str) -> Path:
        """Directory of an adapter of the local models."""
        return self.local.adapter_path(adapter)


@dataclass(frozen=True)
class ServedModel:
    """One of a bundle's models: a checkpoint with adapters, what one worker process serves.

    Of ``local`` everything lies in the bundle's own directory, of the others in one of the part's name. These have one
    adapter, whose name is the part's.
    """

    bundle: Bundle
    part: Part

    @property
    def id(self) -> str:
        """The bundle's."""
        return self.bundle.id

    @property
    def directory(self) -> Path:
        """Where its files are."""
        return self.bundle.directory if self.part == "local" else self.bundle.directory / self.part

    @property
    def checkpoint(self) -> Path:
        """Directory of the base model."""
        return self.directory / CHECKPOINT

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of its adapters inside the bundle."""
        return self.bundle.manifest.model.adapters if self.part == "local" else (self.part,)

    @property
    def spec(self) -> ModelSpec | FurtherSpec:
        """What the manifest says of it."""
        manifest = self.bundle.manifest
        return manifest.model if self.part == "local" else manifest.further[self.part]

    @property
    def lora_rank(self) -> int:
        """Of every adapter."""
        return self.spec.lora_rank

    @property
    def table_rank(self) -> int:
        """Rank of what adapters add to the vocabulary."""
        return self.spec.table_rank if isinstance(self.spec, ModelSpec) else 0

    @property
    def max_tokens(self) -> int:
        """Of the longest sequence: prompt, and the token that is generated."""
        spec = self.spec
        if isinstance(spec, ModelSpec):
            return spec.history_length * spec.item_tokens + 2
        return spec.max_tokens + 1

    @cached_property
    def base_id(self) -> str:
        """Name under which workers serve the base model: bundles whose workers are started alike have the same.

        It stands for the checkpoint's files and for what a worker is told at its start, such as ranks, longest prompt,
        CoLLM's answer, ULMRec's letters. So adapters of several bundles can be resident on one worker, and a switch
        between these bundles restarts nothing.
        """
        prefix = str(self.checkpoint.relative_to(self.bundle.directory)) + "/"
        files = self.bundle.manifest.files.items()
        checkpoint = {name.removeprefix(prefix): entry.sha256 for name, entry in files if name.startswith(prefix)}
        document = json.dumps([checkpoint, self._told()], sort_keys=True)
        return f"base-{hashlib.sha256(document.encode()).hexdigest()[:12]}"

    def adapter_name(self, adapter: str) -> str:
        """See :meth:`Bundle.adapter_name`."""
        return self.bundle.adapter_name(adapter)

    def adapter_path(self, adapter: str) -> Path:
        """Directory of an adapter."""
        return self.directory / "adapters" / adapter

    def _told(self) -> list[int]:
        match self.spec:
            case ModelSpec() as spec:
                return [spec.lora_rank, spec.table_rank, spec.history_length, spec.item_tokens]
            case CoLLMSpec() as spec:
                return [spec.lora_rank, spec.max_tokens, spec.answer_token]
            case HatLLMSpec() as spec:
                return [spec.lora_rank, spec.max_tokens]
            case ULMRecSpec() as spec:
                return [spec.lora_rank, spec.max_tokens, spec.candidates]
            case L2RecSpec() as spec:  # experts of any rank run beside each other
                return [spec.max_tokens, spec.user_size]


def community_adapter(number: int) -> str:
    """Name of a community's adapter inside the bundle."""
    return f"c{number:02d}"


def hash_file(path: Path) -> FileEntry:
    """Checksum and size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(digest, path.stat().st_size)


def hash_files(directory: Path) -> dict[str, FileEntry]:
    """Checksums of every file below ``directory`` but the manifest, by relative path, sorted."""
    return {name: hash_file(directory / name) for name in sorted(_files(directory)) if name != MANIFEST}


def write_manifest(directory: Path, manifest: Manifest) -> Bundle:
    """Write ``manifest.json`` atomically: its existence means that the bundle is complete."""
    document = msgspec.to_builtins(manifest)
    temporary = directory / f".{MANIFEST}.tmp"
    temporary.write_text(json.dumps(document | {CHECKSUM: _checksum(document)}, indent=2) + "\n")
    os.replace(temporary, directory / MANIFEST)
    return Bundle(directory, manifest)


def open_bundle(directory: Path) -> Bundle:
    """Read the manifest of a bundle. Raises BundleError where it is missing, malformed, or of another schema."""
    path = directory / MANIFEST
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise BundleError(f"{directory}: no {MANIFEST}: not a bundle, or one that was not finished") from exc
    except OSError as exc:
        raise BundleError(f"{path}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise BundleError(f"{path}: not JSON: {exc}") from exc
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleError(f"{path}: schema_version is {version!r}, this version reads {SCHEMA_VERSION}")
    checksum = document.pop(CHECKSUM, None)
    try:
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as exc:
        raise BundleError(f"{path}: {exc}") from exc
    if checksum != _checksum(document):
        raise BundleError(f"{path}: does not match its own checksum")
    return Bundle(directory, manifest)


def verify_bundle(directory: Path) -> Bundle:
    """Open a bundle and check every file against its checksum. Raises BundleError naming the first wrong file."""
    bundle = open_bundle(directory)
    found = set(_files(directory)) - {MANIFEST}
    for name in sorted(found - bundle.manifest.files.keys()):
        raise BundleError(f"{bundle.id}: {name} is not listed in the manifest")
    for name, expected in bundle.manifest.files.items():
        if name not in found:
            raise BundleError(f"{bundle.id}: {name} is missing")
        if hash_file(directory / name) != expected:
            raise BundleError(f"{bundle.id}: {name} does not match its checksum")
    return bundle


def _checksum(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _files(directory: Path) -> Iterator[str]:
    return (str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
