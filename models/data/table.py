"""Any CSV, TSV or parquet table, by a map from canonical column names to the file's own."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from models.contract.errors import DataError
from models.data.canonical import INTERACTIONS, ITEMS, Table, interactions_table, items_table
from models.data.columns import ATTRIBUTE, CATEGORIES, CONTENT, ITEM, LINE, REASON, TIMESTAMP, USER
from models.data.lines import header, read_delimited

_FILE = "file."  # keeps the file's own names apart from ours


def read_interactions(path: Path, columns: Mapping[str, str]) -> Table:
    """Read interactions.

    Args:
        path: ``.csv``, ``.tsv`` (``.gz`` or not), or ``.parquet``.
        columns: canonical name → the file's column. Names that are not mapped are looked up under their own name.

    Raises:
        DataError: a mapped column or an id column is not in the file, or holds what cannot be one.
    """
    chunks = _read(path, columns, tuple(INTERACTIONS), (USER, ITEM))
    return interactions_table(path, map(_instants_to_seconds, chunks))


def read_items(path: Path, columns: Mapping[str, str], attributes: Sequence[str], category_separator: str) -> Table:
    """Read items.

    Args:
        path: as in :func:`read_interactions`.
        columns: as in :func:`read_interactions`.
        attributes: further columns of the file to keep, as text.
        category_separator: takes the text of ``categories`` apart; not used where the column holds lists.

    Raises:
        DataError: as :func:`read_interactions`.
    """
    mapped = {**columns, **{ATTRIBUTE + name: name for name in attributes}}
    chunks = _read(path, mapped, (*ITEMS, *mapped), (ITEM,))
    return items_table(path, (_split_categories(chunk, category_separator) for chunk in chunks))


def _read(
    path: Path, columns: Mapping[str, str], names: Sequence[str], required: Sequence[str]
) -> Iterator[pl.DataFrame]:
    for name in columns:
        if name not in names:
            raise DataError(f"{path}: column map: {name!r} is none of {', '.join(names)}")
    if path.suffix == ".parquet":
        return iter([_read_parquet(path, columns, names, required)])
    return _read_text(path, columns, names, required)


def _read_text(
    path: Path, columns: Mapping[str, str], names: Sequence[str], required: Sequence[str]
) -> Iterator[pl.DataFrame]:
    separator = "\t" if ".tsv" in path.suffixes else ","
    fields = header(path, separator)
    found = _locate(path, fields, columns, names, required)
    for chunk in read_delimited(path, separator, [_FILE + field for field in fields], has_header=True, quotes=True):
        yield chunk.select(LINE, CONTENT, REASON, *(pl.col(_FILE + field).alias(name) for name, field in found.items()))


def _read_parquet(
    path: Path, columns: Mapping[str, str], names: Sequence[str], required: Sequence[str]
) -> pl.DataFrame:
    try:
        fields = list(pl.read_parquet_schema(path))
        found = _locate(path, fields, columns, names, required)
        frame = pl.read_parquet(path, columns=sorted(set(found.values())))
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path}: cannot be read as parquet: {exc}") from exc
    for name in required:
        if frame.schema[found[name]].is_float():
            raise DataError(f"{path}: column {found[name]!r} holds floats; ids must be text or integers")
    raw = frame.select(pl.col(field).alias(name) for name, field in found.items())
    return raw.with_row_index(LINE, offset=1).with_columns(pl.lit(None, dtype=pl.String).alias(REASON))


def _locate(
    path: Path, fields: Sequence[str], columns: Mapping[str, str], names: Sequence[str], required: Sequence[str]
) -> dict[str, str]:
    """Canonical name → the file's column, for those of ``names`` that the file has."""
    wanted = {name: columns.get(name, name) for name in names}
    for name, field in wanted.items():
        if field not in fields and (name in columns or name in required):
            raise DataError(f"{path}: column {field!r} (for {name}) not found; the file has {', '.join(fields)}")
    return {name: field for name, field in wanted.items() if field in fields}


def _instants_to_seconds(raw: pl.DataFrame) -> pl.DataFrame:
    if TIMESTAMP in raw.columns and raw.schema[TIMESTAMP].is_temporal():
        return raw.with_columns(pl.col(TIMESTAMP).cast(pl.Datetime("us")).dt.epoch("s"))
    return raw


def _split_categories(raw: pl.DataFrame, separator: str) -> pl.DataFrame:
    if raw.schema.get(CATEGORIES) != pl.String:
        return raw
    return raw.with_columns(pl.col(CATEGORIES).str.split(separator))
