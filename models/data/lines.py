"""Text files as chunks of raw rows, with line numbers, so that a malformed row can be named.

Lines are split by polars, not by a CSV parser: a parser repairs or refuses, and here every malformed line must be
counted. A record is one line; a quoted field that spans lines makes malformed rows (use parquet for such texts).
"""

import csv
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

import polars as pl

from models.contract.errors import ConfigError, DataError
from models.data.columns import CONTENT, LINE, REASON

CHUNK_BYTES = 64 << 20
UTF_8 = "utf-8"
_FIELDS = "fields"


def read_bytes_lines(path: Path, skip: int = 0) -> Iterator[list[tuple[int, bytes]]]:
    """Chunks of (line number, line without its ending), ``.gz`` opened on the way. Blank lines are left out."""
    number = 0
    with _open(path) as file:
        while lines := file.readlines(CHUNK_BYTES):
            stripped = ((at, line.rstrip(b"\r\n")) for at, line in enumerate(lines, number + 1))
            number += len(lines)
            yield [(at, line) for at, line in stripped if at > skip and line.strip()]


def check_encoding(encoding: str) -> None:
    """Raises ConfigError where there is no such encoding, or one whose lines do not end as ASCII's do."""
    try:
        if "\n".encode(encoding) == b"\n":
            return
    except LookupError:
        pass
    raise ConfigError(f"encoding: {encoding!r}; expected one of Python's that extend ASCII, such as utf-8 or latin-1")


def header(path: Path, separator: str, encoding: str = UTF_8) -> list[str]:
    """Fields of the first line of a file. Raises DataError where it has none or one occurs twice."""
    fields = next(csv.reader([_first_line(path, encoding)], delimiter=separator), [])
    twice = sorted({field for field in fields if fields.count(field) > 1})
    if twice or not fields:
        raise DataError(f"{path}: the header is empty" if not fields else f"{path}: column {twice[0]!r} occurs twice")
    return fields


def separator_of(path: Path, candidates: str, encoding: str = UTF_8) -> str:
    """The candidate that takes the first line apart into the most fields; the first one where none does."""
    line = _first_line(path, encoding)
    return max(candidates, key=lambda separator: len(next(csv.reader([line], delimiter=separator), [])))


def read_delimited(
    path: Path, separator: str, columns: Sequence[str], *, has_header: bool, quotes: bool, encoding: str = UTF_8
) -> Iterator[pl.DataFrame]:
    """Chunks of raw rows: LINE, CONTENT, REASON and one text column for each of ``columns``.

    Args:
        path: the file, may end in ``.gz``.
        separator: between fields, of any length where ``quotes`` is False.
        columns: names for the fields, in their order; a line with another number of fields is malformed.
        has_header: skip the first line.
        quotes: a field may be enclosed in double quotes.
        encoding: lines that cannot be decoded are malformed.
    """
    for lines in read_bytes_lines(path, skip=int(has_header)):
        rows = _decode(lines, encoding)
        fields = _split_with_quotes(rows, separator) if quotes else _split(rows, separator)
        yield _name(fields, columns)


def _first_line(path: Path, encoding: str) -> str:
    """Without its ending and without a byte order mark. Raises DataError where it cannot be read or decoded."""
    with _open(path) as file:
        first = file.readline()
    try:
        return first.decode(encoding).removeprefix("\ufeff").rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise DataError(f"{path}: the header is not {encoding.upper()}: {exc}; set data.encoding") from exc


@contextmanager
def _open(path: Path) -> Iterator[BufferedIOBase]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (OSError, EOFError) as exc:
        raise DataError(f"{path}: cannot be read: {exc}") from exc


def _decode(lines: list[tuple[int, bytes]], encoding: str) -> pl.DataFrame:
    numbers = [number for number, _ in lines]
    texts: list[str] = []
    reasons: list[str | None] = []
    for _, line in lines:
        try:
            texts.append(line.decode(encoding))
            reasons.append(None)
        except UnicodeDecodeError:
            texts.append(line.decode(encoding, errors="replace"))
            reasons.append(f"not {encoding.upper()}")
    return pl.DataFrame(
        {LINE: numbers, CONTENT: texts, REASON: reasons},
        schema={LINE: pl.Int64, CONTENT: pl.String, REASON: pl.String},
    )


def _split(rows: pl.DataFrame, separator: str) -> pl.DataFrame:
    return rows.with_columns(pl.col(CONTENT).str.split(separator).alias(_FIELDS))


def _split_with_quotes(rows: pl.DataFrame, separator: str) -> pl.DataFrame:
    """Only the lines that hold a quote go through Python's CSV reader, which is thirty times slower."""
    quoted = pl.col(CONTENT).str.contains('"', literal=True)
    plain, rest = _split(rows.filter(~quoted), separator), rows.filter(quoted)
    if rest.is_empty():
        return plain
    parsed = [_parse_quoted(line, separator) for line in rest[CONTENT]]
    broken = pl.Series([fields is None for fields in parsed])
    rest = rest.with_columns(
        pl.Series(_FIELDS, parsed, dtype=pl.List(pl.String)),
        pl.when(broken).then(pl.coalesce(REASON, pl.lit("unbalanced quotes"))).otherwise(pl.col(REASON)).alias(REASON),
    )
    return pl.concat([plain, rest]).sort(LINE)


def _parse_quoted(line: str, separator: str) -> list[str] | None:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return None


def _name(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    found, expected = pl.col(_FIELDS).list.len(), len(columns)
    wrong = pl.when(found != expected).then(pl.format(f"{{}} fields instead of {expected}", found))
    values = [pl.col(_FIELDS).list.get(i, null_on_oob=True).alias(name) for i, name in enumerate(columns)]
    return rows.select(LINE, CONTENT, pl.coalesce(REASON, wrong).alias(REASON), *values)
