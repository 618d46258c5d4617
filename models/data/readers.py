"""One way in for every source format: the canonical tables of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from models.data import amazon, atomic, movielens, table
from models.data.canonical import Table, empty_items
from models.data.report import ReadReport

SourceFormat = Literal["movielens-dat", "movielens-csv", "atomic", "amazon", "table"]


@dataclass(frozen=True)
class TableOptions:
    """How to read a ``table``: see :mod:`models.data.table`. The other formats name their own columns."""

    interaction_columns: Mapping[str, str] = field(default_factory=dict)
    item_columns: Mapping[str, str] = field(default_factory=dict)
    item_attributes: Sequence[str] = ()
    category_separator: str = " > "
    written: table.Written = table.AS_USUAL


@dataclass(frozen=True)
class Tables:
    """Canonical interactions, in file order, and items, with the report of each file."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    reports: tuple[ReadReport, ...]


def read_tables(
    source: SourceFormat,
    interactions: Path,
    items: Path | None,
    *,
    options: TableOptions | None = None,
    max_malformed_share: float = 0.01,
) -> Tables:
    """Read a data set. Raises DataError where a file cannot be used or has too many malformed rows.

    A ``table`` without an items file may name its items in the interactions.
    """
    options = options or TableOptions()
    if source == "table" and items is None:
        read, named = _read_transactions(interactions, options)
        tables = [read]
    else:
        tables = [read_interactions(source, interactions, options)]
        tables += [read_items(source, items, options)] if items is not None else []
        named = tables[1].frame if items is not None else empty_items()
    for found in tables:
        found.report.refuse_above(max_malformed_share)
    return Tables(tables[0].frame, named, tuple(found.report for found in tables))


def read_interactions(source: SourceFormat, path: Path, options: TableOptions) -> Table:
    """Read one interactions file."""
    match source:
        case "movielens-dat":
            return movielens.read_dat_interactions(path)
        case "movielens-csv":
            return movielens.read_csv_interactions(path)
        case "atomic":
            return atomic.read_interactions(path)
        case "amazon":
            return amazon.read_interactions(path)
        case "table":
            return table.read_interactions(path, options.interaction_columns, options.written)


def read_items(source: SourceFormat, path: Path, options: TableOptions) -> Table:
    """Read one items file."""
    match source:
        case "movielens-dat":
            return movielens.read_dat_items(path)
        case "movielens-csv":
            return movielens.read_csv_items(path)
        case "atomic":
            return atomic.read_items(path)
        case "amazon":
            return amazon.read_items(path)
        case "table":
            return table.read_items(
                path, options.item_columns, options.item_attributes, options.category_separator, options.written
            )


def _read_transactions(path: Path, options: TableOptions) -> tuple[Table, pl.DataFrame]:
    interactions, items = table.read_transactions(
        path, options.interaction_columns, options.item_attributes, options.category_separator, options.written
    )
    return interactions, items.frame
