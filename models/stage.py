"""One stage of the offline pipeline: runs once per content of its configuration and inputs.

A stage writes into its own directory; ``stage.json`` comes last, so its existence means complete. It records the
configuration, the digests of the inputs and of every output. When all of them still hold, the stage is reused.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from models.contract.bundle import hash_file
from models.contract.errors import DataError

RECORD = "stage.json"
STARTED = ".started.json"
_TEMPORARY = f".{RECORD}.tmp"
_BOOKKEEPING = (RECORD, STARTED, _TEMPORARY)


class StageRecord(msgspec.Struct, frozen=True):
    """Contents of ``stage.json``."""

    name: str
    version: int
    config: Any
    inputs: dict[str, str]
    outputs: dict[str, str]


def run_stage(
    directory: Path,
    *,
    name: str,
    version: int,
    config: Any,
    inputs: Mapping[str, Path],
    work: Callable[[Path], None],
    resumable: bool = False,
) -> bool:
    """Run ``work(directory)`` unless its recorded result is still valid.

    Args:
        directory: where the stage writes; emptied before a new run, unless a run of the same content was interrupted
            and ``resumable`` says that ``work`` can go on from what is there.
        name: for the record and the message.
        version: raised by whoever changes what the stage computes.
        config: anything msgspec can turn into JSON.
        inputs: files or stage directories that ``work`` reads, by name.
        work: does the work and leaves its files in ``directory``.
        resumable: keep the files of an interrupted run of the same content.

    Returns:
        True where work was done, False where the earlier result was reused.
    """
    wanted = _as_read(StageRecord(name, version, config, {k: digest(p) for k, p in inputs.items()}, {}))
    if _valid(directory, wanted):
        return False
    started = directory / STARTED
    if not (resumable and not (directory / RECORD).exists() and _read(started) == wanted):
        shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    started.write_bytes(msgspec.json.encode(wanted))
    work(directory)
    record = msgspec.structs.replace(wanted, outputs=_outputs(directory))
    temporary = directory / _TEMPORARY
    temporary.write_text(json.dumps(msgspec.to_builtins(record), indent=2) + "\n")
    os.replace(temporary, directory / RECORD)
    started.unlink()
    return True


def digest(path: Path) -> str:
    """Digest of an input: of a finished stage's recorded outputs, whatever made them; of a file, its checksum.

    Raises:
        DataError: the stage is not finished, or there is no such file.
    """
    if path.is_file():
        return hash_file(path).sha256
    record = _read(path / RECORD)
    if record is None:
        raise DataError(f"{path}: is missing or was not finished; run the stage that makes it first")
    return sha256(msgspec.json.encode(record.outputs, order="sorted")).hexdigest()


def _as_read(record: StageRecord) -> StageRecord:
    """The record as it comes back from its file: tuples are lists there, so a comparison needs the same."""
    return msgspec.json.decode(msgspec.json.encode(record), type=StageRecord)


def _valid(directory: Path, wanted: StageRecord) -> bool:
    record = _read(directory / RECORD)
    if record is None or msgspec.structs.replace(record, outputs={}) != wanted:
        return False
    return _outputs(directory) == record.outputs


def _read(path: Path) -> StageRecord | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=StageRecord)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _outputs(directory: Path) -> dict[str, str]:
    names = sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())
    return {name: hash_file(directory / name).sha256 for name in names if name not in _BOOKKEEPING}
