"""RecBole's atomic files: tab separated, one record a line, a header of ``name:type`` fields.

https://recbole.io/docs/user_guide/data/atomic_files.html. In ``.item`` files the usual names of title, brand,
categories and year are recognised; every other field becomes an attribute. A ``token_seq`` of categories is split at
spaces.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from models.contract.errors import DataError
from models.data.canonical import Table, interactions_table, items_table
from models.data.columns import ATTRIBUTE, BRAND, CATEGORIES, ITEM, RATING, TIMESTAMP, TITLE, USER, YEAR
from models.data.lines import header, read_delimited

_TYPES = ("token", "token_seq", "float", "float_seq")
_ITEM_NAMES: Mapping[str, str] = {
    "item_id": ITEM,
    "title": TITLE,
    "movie_title": TITLE,
    "brand": BRAND,
    "class": CATEGORIES,
    "genre": CATEGORIES,
    "genres": CATEGORIES,
    "categories": CATEGORIES,
    "release_year": YEAR,
    "year": YEAR,
}


def read_interactions(path: Path) -> Table:
    """Read a ``.inter`` file: ``user_id`` and ``item_id``, optionally ``rating`` and ``timestamp``."""
    names = _field_names(path)
    _require(path, names, (USER, ITEM))
    present = [name for name in (RATING, TIMESTAMP) if name in names]
    return interactions_table(path, _read(path, names), required=present)


def read_items(path: Path) -> Table:
    """Read a ``.item`` file."""
    names = [_ITEM_NAMES.get(name, ATTRIBUTE + name) for name in _field_names(path)]
    _require(path, names, (ITEM,))
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise DataError(f"{path}: several fields could be {', '.join(sorted(repeated))}")
    return items_table(path, map(_split_categories, _read(path, names)))


def _field_names(path: Path) -> list[str]:
    fields = [field.rpartition(":") for field in header(path, "\t")]
    for name, _, kind in fields:
        if not name or kind not in _TYPES:
            raise DataError(
                f"{path}: header field {name or kind!r}: expected name:type, type one of {', '.join(_TYPES)}"
            )
    return [name for name, _, _ in fields]


def _require(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    for name in required:
        if name not in names:
            raise DataError(f"{path}: column {name!r} not found; the file has {', '.join(names)}")


def _read(path: Path, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    return read_delimited(path, "\t", names, has_header=True, quotes=False)


def _split_categories(raw: pl.DataFrame) -> pl.DataFrame:
    if CATEGORIES not in raw.columns:
        return raw
    return raw.with_columns(pl.col(CATEGORIES).str.split(" "))
