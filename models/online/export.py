"""From the streams of Redis to parquet tables that grow: each export writes what has come since the one before.

``state.json`` names the last entry of each stream that is in the tables. It is written after them, and a part is named
by where it begins: an export that was interrupted is repeated into the same file, so nothing is lost or there twice.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import polars as pl
from redis import Redis

from models.contract.errors import DataError
from models.online import tables
from models.online.deleted import DeletedUsers
from models.online.stream import EVENT_STREAM, EXPOSURE_STREAM, Page, Stream
from models.online.tables import TableKind, read_part, write_part

STATE = "state.json"

R = TypeVar("R")
Progress = Callable[[Iterable[Page[Any]], str, int], Iterable[Page[Any]]]


class ExportState(msgspec.Struct, frozen=True):
    """Contents of ``state.json``: the id of the last exported entry of each table's stream."""

    last_ids: dict[str, str] = {}


@dataclass(frozen=True)
class TableReport:
    """What one export did to one table.

    Args:
        name: of the table.
        n_written: new rows.
        n_doubles: records that were there already.
        n_deleted: rows and records of users who were deleted since, now gone.
        n_damaged: stream entries that could not be read.
        may_lack: whether entries may have been trimmed from the stream before they were exported.
    """

    name: str
    n_written: int
    n_doubles: int
    n_deleted: int
    n_damaged: int
    may_lack: bool


@dataclass(frozen=True)
class _Source(Generic[R]):
    kind: TableKind
    stream: Stream[R]
    frame: Callable[[Sequence[R]], pl.DataFrame]


@dataclass(frozen=True)
class _Read:
    rows: pl.DataFrame
    last_id: str
    n_damaged: int


_EXPOSURES = _Source(tables.EXPOSURES, EXPOSURE_STREAM, tables.exposures_frame)
_EVENTS = _Source(tables.EVENTS, EVENT_STREAM, tables.events_frame)


def export(
    redis: Redis, directory: Path, since_ms: int = 0, progress: Progress | None = None
) -> tuple[TableReport, TableReport]:
    """Bring the tables of exposures and events in ``directory`` up to date; one report for each.

    Args:
        redis: whose streams.
        directory: made where it is not there.
        since_ms: leave out what was recorded before, milliseconds since 1970.
        progress: wraps the loop over a stream's pages; gets the table's name and the stream's length.

    Raises:
        DataError: ``state.json`` or a part cannot be read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    state = _read_state(directory)
    exposures, exposures_end = _export(_EXPOSURES, redis, directory, state, since_ms, progress)
    events, events_end = _export(_EVENTS, redis, directory, state, since_ms, progress)
    _write_state(directory, ExportState({exposures.name: exposures_end, events.name: events_end}))
    return exposures, events


def _export(
    source: _Source[R],
    redis: Redis,
    directory: Path,
    state: ExportState,
    since_ms: int,
    progress: Progress | None,
) -> tuple[TableReport, str]:
    """The report, and the id of the last entry that is in the table ("" where there is none yet)."""
    kind, last_id = source.kind, state.last_ids.get(source.kind.name, "")
    pages = source.stream.pages(redis, _start(last_id, since_ms))
    read = _read(source, progress(pages, kind.name, source.stream.length(redis)) if progress else pages)
    deleted = DeletedUsers.of(redis)  # who was deleted while the stream was read is among them
    n_forgotten = sum(_forget(path, kind, deleted) for path in kind.parts(directory))
    fresh = _without_doubles(read.rows, kind, kind.parts(directory))
    kept = deleted.keep(fresh)
    _append(kept, directory / kind.part(last_id), kind)
    report = TableReport(
        name=kind.name,
        n_written=kept.height,
        n_doubles=read.rows.height - fresh.height,
        n_deleted=n_forgotten + fresh.height - kept.height,
        n_damaged=read.n_damaged,
        may_lack=bool(last_id) and source.stream.has_lost(redis, last_id),
    )
    return report, read.last_id or last_id


def _read(source: _Source[R], pages: Iterable[Page[R]]) -> _Read:
    """Rows page by page: they take a tenth of the memory that records take."""
    frames, last_id, n_damaged = [source.frame([])], "", 0
    for page in pages:
        frames.append(source.frame(page.records))
        last_id, n_damaged = page.last_id, n_damaged + page.n_damaged
    return _Read(pl.concat(frames), last_id, n_damaged)


def _append(frame: pl.DataFrame, path: Path, kind: TableKind) -> None:
    """Add rows to a part, which is there only where it is the first one or an export was interrupted behind it."""
    if not path.exists():
        if not frame.is_empty() or path.name == kind.part():
            write_part(frame, path)
    elif not frame.is_empty():
        write_part(pl.concat([read_part(path, kind), frame]), path)


def _start(last_id: str, since_ms: int) -> str:
    """Where to read from: behind the last export, and not before ``since_ms``."""
    if last_id and int(last_id.split("-", maxsplit=1)[0]) >= since_ms:
        return f"({last_id}"
    return f"{since_ms}-0"


def _without_doubles(frame: pl.DataFrame, kind: TableKind, parts: Iterable[Path]) -> pl.DataFrame:
    fresh = frame.unique(kind.ids, keep="first", maintain_order=True)
    for path in parts:
        fresh = fresh.join(read_part(path, kind).select(kind.ids), kind.ids, "anti", maintain_order="left")
    return fresh


def _forget(path: Path, kind: TableKind, deleted: DeletedUsers) -> int:
    """Take deleted users out of a part; the number of rows that went."""
    frame = read_part(path, kind)
    kept = deleted.keep(frame)
    if kept.height < frame.height:
        write_part(kept, path)
    return frame.height - kept.height


def _read_state(directory: Path) -> ExportState:
    path = directory / STATE
    try:
        return msgspec.json.decode(path.read_bytes(), type=ExportState) if path.exists() else ExportState()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise DataError(f"{path}: {exc}; export into an empty directory") from exc


def _write_state(directory: Path, state: ExportState) -> None:
    temporary = directory / f".{STATE}.tmp"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    os.replace(temporary, directory / STATE)
