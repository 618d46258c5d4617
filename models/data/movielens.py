"""MovieLens: ``ratings.dat``, ``movies.dat`` (1M, 10M; ``::``, Latin-1) and ``ratings.csv``, ``movies.csv`` (later)."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from models.contract.errors import DataError
from models.data.canonical import Table, interactions_table, items_table
from models.data.columns import CATEGORIES, ITEM, RATING, TIMESTAMP, TITLE, USER, YEAR
from models.data.lines import header, read_delimited

_RATINGS = (USER, ITEM, RATING, TIMESTAMP)
_MOVIES = (ITEM, TITLE, CATEGORIES)
_CSV_RATINGS = ["userId", "movieId", "rating", "timestamp"]
_CSV_MOVIES = ["movieId", "title", "genres"]
_NO_GENRES = "(no genres listed)"
_TITLE_AND_YEAR = r"^(.*?)\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$"


def read_dat_interactions(path: Path) -> Table:
    """Read ``ratings.dat``: ``UserID::MovieID::Rating::Timestamp``."""
    return interactions_table(path, _read_dat(path, _RATINGS), required=(RATING, TIMESTAMP))


def read_dat_items(path: Path) -> Table:
    """Read ``movies.dat``: ``MovieID::Title (Year)::Genre|Genre``."""
    return items_table(path, map(_movies, _read_dat(path, _MOVIES)))


def read_csv_interactions(path: Path) -> Table:
    """Read ``ratings.csv``. Raises DataError where its header is not MovieLens'."""
    return interactions_table(path, _read_csv(path, _CSV_RATINGS, _RATINGS), required=(RATING, TIMESTAMP))


def read_csv_items(path: Path) -> Table:
    """Read ``movies.csv``. Raises DataError where its header is not MovieLens'."""
    return items_table(path, map(_movies, _read_csv(path, _CSV_MOVIES, _MOVIES)))


def _read_dat(path: Path, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    return read_delimited(path, "::", columns, has_header=False, quotes=False, encoding="latin-1")


def _read_csv(path: Path, expected: list[str], columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    found = header(path, ",")
    if found != expected:
        raise DataError(f"{path}: the header is {found}, expected {expected}")
    return read_delimited(path, ",", columns, has_header=True, quotes=True)


def _movies(raw: pl.DataFrame) -> pl.DataFrame:
    """Take the year out of the title, and the genres apart."""
    title = pl.col(TITLE)
    genres = pl.col(CATEGORIES).replace(_NO_GENRES, "").str.split("|")
    return raw.with_columns(
        pl.coalesce(title.str.extract(_TITLE_AND_YEAR, 1), title).alias(TITLE),
        title.str.extract(_TITLE_AND_YEAR, 2).alias(YEAR),
        genres.alias(CATEGORIES),
    )
