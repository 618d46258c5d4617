"""From the stages' results to a bundle: copied into one directory, hashed, named by its content, manifest last."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from safetensors.numpy import save_file

from models.communities.portrait import of_profiles, portrait_file
from models.contract.affinity import Kernel
from models.contract.bundle import (
    CATALOGUE,
    CF_MODEL,
    CHECKPOINT,
    COMMUNITIES,
    GLOBAL_ADAPTER,
    MANIFEST,
    POPULARITY,
    PROFILES,
    SCHEMA_VERSION,
    TITLE_TOKENS,
    Bundle,
    CommunitySpec,
    FileEntry,
    Manifest,
    ServingSpec,
    community_adapter,
    hash_files,
    open_bundle,
    write_manifest,
)
from models.contract.cf import CFModel
from models.contract.errors import BundleError
from models.contract.portrait import PORTRAIT, PortraitFile
from models.contract.probe import Probe
from models.contract.profile import build_profile
from models.contract.redis_schema import encode_events, encode_profile, encode_seen, history_digest
from models.contract.specs import FurtherPart, FurtherSpec, ModelSpec
from models.contract.types import Array, Floats, HistoryEvent
from models.data.dataset import Dataset
from models.llm.tokenizer import write_tokenizer

STORED_VALUES = ("profile", "history", "seen")
STORED_HISTORY = 200  # events a user that are kept in Redis at least, the newest
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class ExportedModel:
    """A further model, ready for a bundle.

    Args:
        part: which of a bundle's parts it is.
        directory: its part's files, see the module of its name in :mod:`models.contract`.
        spec: what workers and gateway must know of it.
    """

    part: FurtherPart
    directory: Path
    spec: FurtherSpec


@dataclass(frozen=True)
class BundleParts:
    """Everything that a bundle is made of.

    Args:
        name: start of the bundle's id, such as the data set's name.
        dataset: catalogue and the users' full histories.
        cf: the global model.
        anchors: (q, d) embeddings of the anchor users.
        items: (n_items, q) bool, the items V_j of each community; None: all items belong to all.
        bandwidth, kernel: h and K of equation 2 when serving.
        popularity: (n_items,).
        communities: one entry per anchor.
        checkpoint: directory of the compiled base model; of the title form, the title tokens lie beside it.
        adapters: PEFT directories by name, ``global`` and one per community.
        model: what workers and gateway must know.
        serving: defaults of the local pipeline.
        probe: what each adapter must answer to one prompt.
        accuracies: (n_users, q) accuracy of each local model for each user, for the weights of wRRF(LLM), see
            :mod:`models.ranking.accuracy`.
        config, data_statistics, metrics: for the reader.
        further: models beside the local ones, at most one of each part.
    """

    name: str
    dataset: Dataset
    cf: CFModel
    anchors: Floats
    items: Array | None
    bandwidth: float
    kernel: Kernel
    popularity: Floats
    communities: Sequence[CommunitySpec]
    checkpoint: Path
    adapters: Mapping[str, Path]
    model: ModelSpec
    serving: ServingSpec
    probe: Probe
    accuracies: Floats
    config: dict[str, Any]
    data_statistics: dict[str, Any]
    metrics: dict[str, Any]
    further: Sequence[ExportedModel] = ()


def bundled(bundle: Bundle, part: FurtherPart) -> ExportedModel:
    """A further model of a bundle. Raises BundleError where it has none such."""
    return ExportedModel(part, bundle.served(part).directory, bundle.manifest.further[part])


def build_bundle(parts: BundleParts, root: Path, progress: Callable[[range], Any] = iter) -> Bundle:
    """Write a bundle below ``root`` and return it; a bundle of the same content that is there already is returned.

    Args:
        parts: see :class:`BundleParts`.
        root: directory that holds all bundles.
        progress: wraps the loop over users.
    """
    root.mkdir(parents=True, exist_ok=True)
    building = root / f".building-{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    try:
        _write_files(parts, building, progress)
        manifest = _manifest(parts, hash_files(building))
        target = root / manifest.bundle_id
        if (target / MANIFEST).exists() and hash_files(target) == manifest.files:
            return open_bundle(target)
        shutil.rmtree(target, ignore_errors=True)
        write_manifest(building, manifest)
        _make_readable(building)
        os.replace(building, target)
        return open_bundle(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write_files(parts: BundleParts, directory: Path, progress: Callable[[range], Any]) -> None:
    parts.dataset.catalogue.save(directory / CATALOGUE)
    np.save(directory / POPULARITY, parts.popularity.astype(np.float32))
    parts.cf.save(directory / CF_MODEL)
    communities = {"anchors": np.ascontiguousarray(parts.anchors, np.float32)}
    of_items = {} if parts.items is None else {"items": np.ascontiguousarray(parts.items)}
    save_file(communities | of_items, directory / COMMUNITIES)
    shutil.copytree(parts.checkpoint, directory / CHECKPOINT)
    if parts.model.form == "title":  # the checkpoint has the backbone's own tokenizer
        shutil.copyfile(parts.checkpoint.parent / TITLE_TOKENS, directory / TITLE_TOKENS)
    else:
        write_tokenizer(directory / CHECKPOINT, parts.model.n_items)
    for name, source in parts.adapters.items():
        _copy_adapter(source, directory / "adapters" / name)
    parts.probe.save(directory)
    for model in parts.further:
        shutil.copytree(model.directory, directory / model.part)
    (directory / PROFILES).parent.mkdir()
    profiles = _profiles(parts, progress)
    profiles.write_parquet(directory / PROFILES)
    _portrait(parts, profiles).save(directory)


def _portrait(parts: BundleParts, profiles: pl.DataFrame) -> PortraitFile:
    portrait = of_profiles(
        profiles,
        name=parts.name,
        bandwidth=parts.bandwidth,
        kernel=parts.kernel,
        anchors=parts.anchors,
        item_weights=None,  # the file has nothing of them
        catalogue=parts.dataset.catalogue,
    )
    return portrait_file(portrait)


def _make_readable(directory: Path) -> None:
    """Let other accounts read: workers and gateway run as users of their own, and safetensors writes 0600."""
    directory.chmod(0o755)
    for path in directory.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _copy_adapter(source: Path, target: Path) -> None:
    """The two files that matter, as ``models.llm.item_token.save_adapter`` wrote them."""
    target.mkdir(parents=True)
    for name in _ADAPTER_FILES:
        if not (source / name).exists():
            raise BundleError(f"adapter {source}: {name} is missing")
        shutil.copyfile(source / name, target / name)


def _profiles(parts: BundleParts, progress: Callable[[range], Any]) -> pl.DataFrame:
    """One row a user: the very bytes that go to Redis."""
    dataset = parts.dataset
    rows: dict[str, list[Any]] = {"user_id": [], "profile": [], "history": [], "seen": []}
    for user in progress(range(len(dataset.user_ids))):
        history = dataset.full[user]
        times = dataset.full_timestamps[dataset.full.offsets[user] : dataset.full.offsets[user + 1]]
        ids = [dataset.catalogue.ids[item] for item in history]
        events = [HistoryEvent(i, int(t)) for i, t in zip(ids, times, strict=True)]
        rows["user_id"].append(dataset.user_ids[user])
        accuracies = parts.accuracies[user]
        profile = build_profile(parts.cf, parts.anchors, parts.bandwidth, parts.kernel, history, accuracies)
        stored = encode_events(events[-max(STORED_HISTORY, parts.model.history_length) :])
        rows["profile"].append(encode_profile(replace(profile, digest=history_digest(stored))))
        rows["history"].append(stored)
        rows["seen"].append(encode_seen(ids))
    return pl.DataFrame(rows, schema={"user_id": pl.String} | dict.fromkeys(STORED_VALUES, pl.Binary))


def _manifest(parts: BundleParts, files: dict[str, FileEntry]) -> Manifest:
    """The id stands for all that is served; what is there for the reader only has no part in it."""
    kernel = (parts.bandwidth, parts.kernel)
    specs: dict[str, Any] = {model.part: model.spec for model in parts.further}
    served_files = {name: entry for name, entry in files.items() if name != PORTRAIT}
    served = (SCHEMA_VERSION, *kernel, parts.model, parts.serving, tuple(parts.communities), served_files)
    served = (*served, *specs.values())
    digest = sha256(msgspec.json.encode(served, order="sorted")).hexdigest()[:10]
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id=f"{parts.name}-{digest}",
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        embedding_size=parts.cf.embedding_size,
        bandwidth=parts.bandwidth,
        kernel=parts.kernel,
        model=parts.model,
        serving=parts.serving,
        communities=tuple(parts.communities),
        files=files,
        config=_without_directories(parts.config),
        data_statistics=parts.data_statistics,
        metrics=parts.metrics,
        **specs,
    )


def _without_directories(value: Any) -> Any:
    """Where the training machine kept its files is nobody's business: of a path, the last part is left."""
    if isinstance(value, dict):
        return {key: _without_directories(inner) for key, inner in value.items()}
    return (Path(value).name or value) if isinstance(value, str) and Path(value).is_absolute() else value


def adapter_names(n_communities: int) -> tuple[str, ...]:
    """Names of a bundle's adapters: the global one, then one per community."""
    return (GLOBAL_ADAPTER, *(community_adapter(number) for number in range(n_communities)))
