"""One stage of the offline pipeline: runs once per content of its configuration and inputs.

A stage writes into its own directory; ``stage.json`` comes last, so its existence means complete. It records the
configuration, the digests of the inputs and of every output. When all of them still hold, the stage is reused.

A setting that is unset (None) counts as one that is not there: a stage that was finished before an optional setting
existed stays valid for as long as nobody sets it.
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

NEWEST = "bundle.json"  # in a run directory: the id of the bundle that was made last
RECORD = "stage.json"
STARTED = ".started.json"
_TEMPORARY = f".{RECORD}.tmp"
DERIVED = "sweeps"  # runs that were begun from a run live in this directory of it
COST = "cost.json"  # what the work took: no result, for it differs from run to run
_BOOKKEEPING = (RECORD, STARTED, _TEMPORARY, COST)


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
    wanted = _wanted(name, version, config, inputs)
    if _valid(directory, wanted):
        return False
    started = directory / STARTED
    if not (resumable and not (directory / RECORD).exists() and _same_content(_read(started), wanted)):
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


def holds(directory: Path, *, name: str, version: int, config: Any, inputs: Mapping[str, Path]) -> bool:
    """Whether :func:`run_stage` would reuse what is there; for the arguments see there."""
    try:
        return _valid(directory, _wanted(name, version, config, inputs))
    except DataError:  # an input was not finished
        return False


def link_stages(source: Path, target: Path) -> None:
    """Begin a run directory from another one's finished stages, as hard links; stages that it already has stay.

    What does not hold with the new run's configuration runs again, in a directory of its own: a finished stage's files
    are never written to, they are replaced with their directory.
    """
    for record in sorted(source.rglob(RECORD)):
        stage = record.parent.relative_to(source)
        if stage.parts[0] != DERIVED and not (target / stage).exists():
            _link(record.parent, target / stage)


def _link(source: Path, target: Path) -> None:
    """All files, under a temporary name first: a directory that is there is complete."""
    temporary = target.with_name(f".{target.name}.linked")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary, copy_function=link_file)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(target)


def link_file(source: str, target: str) -> None:
    """One file of a finished stage, which nobody writes to, under another name; a copy where links cannot be made."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copy2(source, target)


def file_name(row: str) -> str:
    """A file's or directory's name for a table row's name."""
    return "".join(c for c in row.lower().replace(" ", "-") if c.isalnum() or c == "-")


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


def _wanted(name: str, version: int, config: Any, inputs: Mapping[str, Path]) -> StageRecord:
    """The record as it comes back from its file: tuples are lists there, so a comparison needs the same."""
    record = StageRecord(name, version, config, {k: digest(p) for k, p in inputs.items()}, {})
    return msgspec.json.decode(msgspec.json.encode(record), type=StageRecord)


def _valid(directory: Path, wanted: StageRecord) -> bool:
    record = _read(directory / RECORD)
    return record is not None and _same_content(record, wanted) and _outputs(directory) == record.outputs


def _same_content(record: StageRecord | None, wanted: StageRecord) -> bool:
    """Whether both are of the same stage, settings and inputs; outputs aside."""
    return record is not None and _content(record) == _content(wanted)


def _content(record: StageRecord) -> StageRecord:
    return msgspec.structs.replace(record, config=_without_unset(record.config), outputs={})


def _without_unset(config: Any) -> Any:
    """A configuration as it is read, less the keys whose value is None; a None in a list has a place and stays."""
    if isinstance(config, dict):
        return {key: _without_unset(value) for key, value in config.items() if value is not None}
    return [_without_unset(value) for value in config] if isinstance(config, list) else config


def _read(path: Path) -> StageRecord | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=StageRecord)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _outputs(directory: Path) -> dict[str, str]:
    names = sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())
    return {name: hash_file(directory / name).sha256 for name in names if name not in _BOOKKEEPING}
