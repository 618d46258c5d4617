"""MovieLens 100K for the demo and the tests, out of a package that carries it.

The ``recbole`` wheel (MIT) holds the data set as atomic files. It is downloaded, opened as the zip file that it is,
and thrown away: nothing of it is installed or run.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from models.contract.errors import DataError

REQUIREMENT = "recbole==1.2.1"
FOLDER = "recbole/dataset_example/ml-100k"
INTERACTIONS = "ml-100k.inter"
ITEMS = "ml-100k.item"
SHA256: Mapping[str, str] = {
    INTERACTIONS: "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    ITEMS: "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
TERMS = """\
MovieLens 100K (GroupLens Research, University of Minnesota) is for research use. It may not be redistributed without
separate permission, nor used commercially without permission, and its use must be acknowledged by citing:
  F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context.
  ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. https://doi.org/10.1145/2827872"""


def fetch_ml_100k(directory: Path) -> Path:
    """Put ``ml-100k.inter`` and ``ml-100k.item`` into ``directory``, unless they are there already, and show the terms.

    Raises:
        DataError: the package could not be downloaded, or holds other files than expected.
    """
    if not all(_is_ours(directory / name, digest) for name, digest in SHA256.items()):
        print(TERMS)
        with tempfile.TemporaryDirectory() as folder:
            extract(_download(Path(folder)), directory)
    return directory


def extract(wheel: Path, directory: Path) -> None:
    """Write the two files of the wheel into ``directory``, once both have the expected contents."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {name: archive.read(f"{FOLDER}/{name}") for name in SHA256}
    except (zipfile.BadZipFile, KeyError) as exc:
        raise DataError(f"{wheel.name}: does not hold {FOLDER}: {exc}") from exc
    for name, content in contents.items():
        found = hashlib.sha256(content).hexdigest()
        if found != SHA256[name]:
            raise DataError(f"{wheel.name}: {name} has sha256 {found}, expected {SHA256[name]}")
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (directory / name).write_bytes(content)


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    done = subprocess.run([*command, "--quiet", REQUIREMENT], capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(
            f"ml-100k: pip could not download {REQUIREMENT}: {reason}. Without a network, put {INTERACTIONS} and"
            f" {ITEMS} of RecBole's ml-100k into the directory yourself."
        )
    return wheels[0]


def _is_ours(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
