"""Any CSV, TSV or parquet table, by a map from canonical column names to the file's own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from models.contract.errors import DataError
from models.data.canonical import INTERACTIONS, ITEMS, Table, interactions_table, items_of_transactions, items_table
from models.data.columns import ATTRIBUTE, BRAND, CATEGORIES, CONTENT, ITEM, LINE, REASON, TITLE, USER
from models.data.lines import UTF_8, header, read_delimited, separator_of
from models.data.times import AS_NUMBERS_OR_ISO, TimeFormat, in_seconds

ITEM_TEXTS = (TITLE, BRAND, CATEGORIES)  # what a table of interactions may say of its items
SEPARATORS = ",;\t|"
_FILE = "file."  # keeps the file's own names apart from ours


@dataclass(frozen=True)
class Written:
    """How a file is written: the ``encoding`` of its text, and how it says ``times``."""

    encoding: str = UTF_8
    times: TimeFormat = AS_NUMBERS_OR_ISO


AS_USUAL = Written()


def read_interactions(path: Path, columns: Mapping[str, str], written: Written = AS_USUAL) -> Table:
    """Read interactions.

    Args:
        path: ``.csv``, ``.tsv`` (``.gz`` or not), or ``.parquet``. A ``.csv`` is separated by what takes its header
            apart into the most fields: comma, semicolon, tab or bar.
        columns: canonical name → the file's column. Names that are not mapped are looked up under their own name.
        written: how.

    Raises:
        DataError: a mapped column or an id column is not in the file, or holds what cannot be one.
    """
    chunks = _read(path, columns, tuple(INTERACTIONS), (USER, ITEM), written.encoding)
    return interactions_table(path, (in_seconds(chunk, written.times) for chunk in chunks))


def read_items(
    path: Path,
    columns: Mapping[str, str],
    attributes: Sequence[str],
    category_separator: str,
    written: Written = AS_USUAL,
) -> Table:
    """Read items.

    Args:
        path: as in :func:`read_interactions`.
        columns: as in :func:`read_interactions`.
        attributes: further columns of the file to keep, as text.
        category_separator: takes the text of ``categories`` apart; not used where the column holds lists.
        written: how.

    Raises:
        DataError: as :func:`read_interactions`.
    """
    mapped = {**columns, **{ATTRIBUTE + name: name for name in attributes}}
    chunks = _read(path, mapped, (*ITEMS, *mapped), (ITEM,), written.encoding)
    return items_table(path, (_split_categories(chunk, category_separator) for chunk in chunks))


def read_transactions(
    path: Path,
    columns: Mapping[str, str],
    attributes: Sequence[str],
    category_separator: str,
    written: Written = AS_USUAL,
) -> tuple[Table, Table]:
    """Read interactions whose rows also say what the item is, and the items out of them; arguments as above."""
    of_items = {name: column for name, column in columns.items() if name in ITEM_TEXTS}
    of_interactions = {name: column for name, column in columns.items() if name not in ITEM_TEXTS}
    of_items |= {name: column for name, column in of_interactions.items() if name == ITEM}
    of_items |= {ATTRIBUTE + name: name for name in attributes}
    interactions = read_interactions(path, of_interactions, written)
    chunks = _read(path, of_items, (*ITEMS, *of_items), (ITEM,), written.encoding)
    return interactions, items_of_transactions(path, (_split_categories(c, category_separator) for c in chunks))


def _read(
    path: Path, columns: Mapping[str, str], names: Sequence[str], required: Sequence[str], encoding: str
) -> Iterator[pl.DataFrame]:
    for name in columns:
        if name not in names:
            raise DataError(f"{path}: column map: {name!r} is none of {', '.join(names)}")
    if path.suffix == ".parquet":
        return iter([_read_parquet(path, columns, names, required)])
    return _read_text(path, columns, names, required, encoding)


def _read_text(
    path: Path, columns: Mapping[str, str], names: Sequence[str], required: Sequence[str], encoding: str
) -> Iterator[pl.DataFrame]:
    separator = "\t" if ".tsv" in path.suffixes else separator_of(path, SEPARATORS, encoding)
    fields = header(path, separator, encoding)
    found = _locate(path, fields, columns, names, required)
    columns_read = [_FILE + field for field in fields]
    for chunk in read_delimited(path, separator, columns_read, has_header=True, quotes=True, encoding=encoding):
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
            hint = "" if name in columns else f"; say which one it is in the column map, {name}=…"
            raise DataError(f"{path}: column {field!r} (for {name}) not found; the file has {', '.join(fields)}{hint}")
    return {name: field for name, field in wanted.items() if field in fields}


def _split_categories(raw: pl.DataFrame, separator: str) -> pl.DataFrame:
    if raw.schema.get(CATEGORIES) != pl.String:
        return raw
    return raw.with_columns(pl.col(CATEGORIES).str.split(separator))
