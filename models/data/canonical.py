"""The canonical tables, and the checks that raw rows pass on their way into them.

A reader yields raw rows: LINE, CONTENT, REASON (null unless the reader already refuses the row) and columns with
canonical names, of text or of the file's own types. Here they are cast; what cannot be cast is malformed.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from models.data.columns import (
    ATTRIBUTE,
    BRAND,
    CATEGORIES,
    CONTENT,
    ITEM,
    LINE,
    POSITION,
    RATING,
    REASON,
    SPLIT,
    TIMESTAMP,
    TITLE,
    USER,
)
from models.data.report import N_SAMPLES, ReadReport

INTERACTIONS: Mapping[str, pl.DataType] = {
    USER: pl.String(),
    ITEM: pl.String(),
    TIMESTAMP: pl.Int64(),
    RATING: pl.Float32(),
    POSITION: pl.Int64(),
    SPLIT: pl.String(),
}
ITEMS: Mapping[str, pl.DataType] = {
    ITEM: pl.String(),
    TITLE: pl.String(),
    BRAND: pl.String(),
    CATEGORIES: pl.List(pl.String()),
}
SPLIT_NAMES = ("train", "valid", "test")

MAX_ID_BYTES = 255  # the service stores an id's length in one byte
_RANGES = {
    TIMESTAMP: (0, 2**32 - 1),  # and a time in four
    RATING: (-1e9, 1e9),
    POSITION: (-(2**53), 2**53),
}
_CONTENT_CHARACTERS = 200
_SPLIT_ALIASES = {"val": "valid", "validation": "valid"}


@dataclass(frozen=True)
class Table:
    """A canonical table and how its file was read."""

    frame: pl.DataFrame
    report: ReadReport


@dataclass(frozen=True)
class _Field:
    """A column on its way: the cast value, and why a row is malformed (null where it is not)."""

    value: pl.Expr
    problem: pl.Expr


_Fields = Callable[[Collection[str]], dict[str, _Field]]


def interactions_table(path: Path, chunks: Iterable[pl.DataFrame], required: Collection[str] = ()) -> Table:
    """Check raw interactions. ``required`` names columns besides the two ids that must not be empty."""

    def fields(columns: Collection[str]) -> dict[str, _Field]:
        return {
            USER: _id(USER),
            ITEM: _id(ITEM),
            **{name: _number(name, columns, required) for name in _RANGES},
            SPLIT: _split(columns),
        }

    return _table(path, chunks, fields, INTERACTIONS)


def items_table(path: Path, chunks: Iterable[pl.DataFrame]) -> Table:
    """Check raw items. Of several rows of one item the first is kept, the others are counted as repeated."""
    table = _items(path, chunks)
    frame = table.frame.unique(ITEM, keep="first", maintain_order=True)
    repeats = ReadReport(str(path), n_repeated=table.frame.height - frame.height)
    return Table(frame, ReadReport.merge(str(path), [table.report, repeats]))


def items_of_transactions(path: Path, chunks: Iterable[pl.DataFrame]) -> Table:
    """Check items whose texts stand in each interaction: of an item's rows the one with its most frequent title counts.

    Of equally frequent ones the first. The report has malformed rows; that an item occurs again is nothing to report.
    """
    table = _items(path, chunks)
    times = pl.when(pl.col(TITLE).is_not_null()).then(pl.len().over(ITEM, TITLE)).otherwise(0)
    common = table.frame.sort(times, descending=True, maintain_order=True)
    return Table(common.unique(ITEM, keep="first", maintain_order=True), table.report)


def empty_items() -> pl.DataFrame:
    """The items table of a data set without one."""
    return pl.DataFrame(schema=dict(ITEMS))


def _items(path: Path, chunks: Iterable[pl.DataFrame]) -> Table:
    def fields(columns: Collection[str]) -> dict[str, _Field]:
        texts = [TITLE, BRAND, *(name for name in columns if name.startswith(ATTRIBUTE))]
        return {ITEM: _id(ITEM), **{name: _text(name, columns) for name in texts}, CATEGORIES: _categories(columns)}

    return _table(path, chunks, fields, ITEMS)


def _table(path: Path, chunks: Iterable[pl.DataFrame], fields: _Fields, schema: Mapping[str, pl.DataType]) -> Table:
    frames, reports = [pl.DataFrame(schema=dict(schema))], []
    for raw in chunks:
        frame, report = _check(path, raw, fields(raw.columns))
        frames.append(frame)
        reports.append(report)
    return Table(pl.concat(frames, how="diagonal"), ReadReport.merge(str(path), reports))


def _check(path: Path, raw: pl.DataFrame, fields: dict[str, _Field]) -> tuple[pl.DataFrame, ReadReport]:
    reason = pl.coalesce(REASON, *(field.problem for field in fields.values())).alias(REASON)
    checked = raw.select(*(field.value.alias(name) for name, field in fields.items()), reason)
    bad = checked[REASON].is_not_null()
    report = _report(path, raw.height, raw.filter(bad).with_columns(checked[REASON].filter(bad)))
    return checked.filter(~bad).drop(REASON), report


def _report(path: Path, n_rows: int, bad: pl.DataFrame) -> ReadReport:
    reasons = dict(bad.group_by(REASON, maintain_order=True).len().iter_rows())
    samples = tuple(_sample(path, row) for row in bad.head(N_SAMPLES).iter_rows(named=True))
    return ReadReport(str(path), n_rows, reasons, samples)


def _sample(path: Path, row: dict[str, object]) -> str:
    values = {name: value for name, value in row.items() if name not in (LINE, CONTENT, REASON)}
    content = str(row.get(CONTENT) or values)[:_CONTENT_CHARACTERS]
    return f"{path}:{row[LINE]}: {row[REASON]}: {content}"


def _id(name: str) -> _Field:
    value = pl.col(name).cast(pl.String)
    problem = _first_problem(
        (value.is_null() | (value == ""), f"{name} is empty"),
        (value.str.contains(r"\p{Cc}"), f"{name} holds control characters"),
        (value.str.len_bytes() > MAX_ID_BYTES, f"{name} is longer than {MAX_ID_BYTES} bytes"),
    )
    return _Field(value, problem)


def _number(name: str, columns: Collection[str], required: Collection[str]) -> _Field:
    dtype, (low, high) = INTERACTIONS[name], _RANGES[name]
    if name not in columns:
        return _absent(dtype)
    text = pl.col(name).cast(pl.String).str.strip_chars()
    empty = text.is_null() | (text == "")
    value = text.cast(pl.Float64, strict=False)
    problem = _first_problem(
        (empty & (name in required), f"{name} is empty"),
        (~empty & ~value.is_finite().fill_null(False), f"{name} is not a number"),
        (~value.is_between(low, high), f"{name} is not from {low:.0f} to {high:.0f}"),
    )
    return _Field(value.cast(dtype, strict=False), problem)


def _split(columns: Collection[str]) -> _Field:
    if SPLIT not in columns:
        return _absent(pl.String())
    value = pl.col(SPLIT).cast(pl.String).replace(_SPLIT_ALIASES)
    wrong = ~value.is_in(SPLIT_NAMES).fill_null(False)
    return _Field(value, _first_problem((wrong, f"{SPLIT} is none of {', '.join(SPLIT_NAMES)}")))


def _text(name: str, columns: Collection[str]) -> _Field:
    if name not in columns:
        return _absent(pl.String())
    value = pl.col(name).cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()
    return _Field(pl.when(value != "").then(value), _no_problem())


def _categories(columns: Collection[str]) -> _Field:
    if CATEGORIES not in columns:
        return _Field(pl.lit([], dtype=pl.List(pl.String)), _no_problem())
    stripped = pl.col(CATEGORIES).list.eval(pl.element().cast(pl.String).str.strip_chars())
    kept = stripped.list.eval(pl.element().filter(pl.element() != "")).list.unique(maintain_order=True)
    return _Field(kept.fill_null(pl.lit([], dtype=pl.List(pl.String))), _no_problem())


def _absent(dtype: pl.DataType) -> _Field:
    return _Field(pl.lit(None, dtype=dtype), _no_problem())


def _no_problem() -> pl.Expr:
    return pl.lit(None, dtype=pl.String)


def _first_problem(*cases: tuple[pl.Expr, str]) -> pl.Expr:
    return pl.coalesce(*(pl.when(wrong).then(pl.lit(reason)) for wrong, reason in cases))
