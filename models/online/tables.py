"""The exported tables: records as rows, and the parts of a table in a directory.

A table is its parts: ``exposures.parquet``, then ``exposures-<stream id>.parquet`` for each later export, named by the
last entry of the export before it. A part is written under another name first, so that what is there is complete.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from models.contract.errors import DataError
from models.contract.records import Context, Event, Exposure
from models.online import columns as c

_MICROSECONDS = 1_000  # in a millisecond


@dataclass(frozen=True)
class TableKind:
    """One of the two tables.

    Args:
        name: of its files.
        ids: the columns that tell its rows apart.
        schema: columns and their types.
    """

    name: str
    ids: tuple[str, ...]
    schema: Mapping[str, pl.DataType]

    def part(self, after: str = "") -> str:
        """File name of the part that begins behind the stream entry ``after``; of the first one without."""
        return f"{self.name}{f'-{after}' if after else ''}.parquet"

    def parts(self, directory: Path) -> list[Path]:
        """The parts that are there, oldest first."""
        first = directory / self.part()
        later = sorted(directory.glob(self.part("*")), key=lambda path: _stream_order(path.stem))
        return [path for path in (first, *later) if path.is_file()]


EXPOSURES = TableKind("exposures", (c.REQUEST, c.USER, c.SHADOW, c.TIME), c.EXPOSURES)
EVENTS = TableKind("events", (c.EVENT, c.USER), c.EVENTS)


def exposures_frame(records: Sequence[Exposure]) -> pl.DataFrame:
    """One row an exposure."""
    return _frame(map(_exposure_row, records), c.EXPOSURES)


def events_frame(records: Sequence[Event]) -> pl.DataFrame:
    """One row an event."""
    return _frame(map(_event_row, records), c.EVENTS)


def read(directory: Path, kind: TableKind) -> pl.DataFrame:
    """All parts of a table, by time, of rows that are there twice the first.

    Raises:
        DataError: there is no part, or one cannot be read, lacks a column, or holds another type in it.
    """
    paths = kind.parts(directory)
    if not paths:
        raise DataError(f"{directory}: {kind.part()} not found; expected what localrec export events writes")
    return (
        pl.concat([read_part(path, kind) for path in paths])
        .unique(kind.ids, keep="first", maintain_order=True)
        .sort(*dict.fromkeys((c.TIME, *kind.ids)))
    )


def read_part(path: Path, kind: TableKind) -> pl.DataFrame:
    """One part. Raises DataError."""
    try:
        return pl.read_parquet(path).select(pl.col(name).cast(dtype) for name, dtype in kind.schema.items())
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path}: no table of {kind.name}: {exc}") from exc


def write_part(frame: pl.DataFrame, path: Path) -> None:
    """Write a part, all of it or nothing."""
    temporary = path.with_name(f".{path.name}.tmp")
    frame.write_parquet(temporary)
    os.replace(temporary, path)


def _stream_order(stem: str) -> tuple[int, ...]:
    """Of a part's name: the numbers of the stream id in it. Zeros where there is none, so that strays come first."""
    numbers = stem.split("-")[1:]
    return tuple(int(number) for number in numbers) if all(map(str.isdecimal, numbers)) else (0, 0)


def _frame(rows: Iterable[tuple[Any, ...]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Through lines of JSON: a quarter of the time that polars takes over nested lists of Python's."""
    lines = msgspec.json.Encoder().encode_lines([dict(zip(schema, row, strict=True)) for row in rows])
    if not lines:
        return pl.DataFrame(schema=dict(schema))
    return pl.read_ndjson(lines, schema={**schema, c.TIME: pl.Int64()}).cast({c.TIME: c.INSTANT})


def _exposure_row(record: Exposure) -> tuple[Any, ...]:
    return (
        record.request_id,
        record.timestamp_ms * _MICROSECONDS,
        record.user_id,
        record.bundle_id,
        record.pipeline,
        [{c.EXPERIMENT: name, c.VARIANT: variant} for name, variant in record.experiments.items()],
        record.forced,
        record.shadow,
        record.items,
        record.sources,
        record.voters,
        record.ranks,
        record.degraded,
        record.cached,
        record.latency_ms,
        _pairs(record.context),
    )


def _event_row(record: Event) -> tuple[Any, ...]:
    return (
        record.event_id,
        record.timestamp_ms * _MICROSECONDS,
        record.type,
        record.user_id,
        record.item_id,
        record.value,
        record.request_id,
        _pairs(record.context),
    )


def _pairs(context: Context) -> list[dict[str, str]]:
    return [{c.NAME: name, c.VALUE: _text(value)} for name, value in context.items()]


def _text(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:.15g}"
