"""Amazon reviews (2014, 2018): JSON lines of reviews and of metadata, ``.gz`` or not.

https://jmcauley.ucsd.edu/data/amazon. The 2014 metadata are Python literals, one a line; they are read as such.
"""

import ast
import html
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from models.data.canonical import Table, interactions_table, items_table
from models.data.columns import BRAND, CATEGORIES, CONTENT, ITEM, LINE, RATING, REASON, TIMESTAMP, TITLE, USER
from models.data.lines import read_bytes_lines

_Parse = Callable[[bytes], dict[str, Any]]
_REVIEW_SCHEMA = {USER: pl.String, ITEM: pl.String, RATING: pl.Float64, TIMESTAMP: pl.Int64}
_ITEM_SCHEMA = {ITEM: pl.String, TITLE: pl.String, BRAND: pl.String, CATEGORIES: pl.List(pl.String)}


class _Review(msgspec.Struct):
    reviewerID: str  # noqa: N815 - the file's name
    asin: str
    overall: float
    unixReviewTime: int  # noqa: N815 - the file's name


class _Product(msgspec.Struct):
    asin: str
    title: str | None = None
    brand: str | None = None
    categories: list[str | list[str]] | None = None  # 2014: several paths
    category: list[str] | None = None  # 2018: one path


def read_interactions(path: Path) -> Table:
    """Read reviews: ``reviewerID``, ``asin``, ``overall``, ``unixReviewTime``."""
    review = msgspec.json.Decoder(_Review)

    def parse(line: bytes) -> dict[str, Any]:
        r = review.decode(line)
        return {USER: r.reviewerID, ITEM: r.asin, RATING: r.overall, TIMESTAMP: r.unixReviewTime}

    return interactions_table(path, _read(path, parse, _REVIEW_SCHEMA), required=(RATING, TIMESTAMP))


def read_items(path: Path) -> Table:
    """Read metadata: ``asin``, ``title``, ``brand``, ``categories`` (or ``category``), flat or as a list of paths."""

    def parse(line: bytes) -> dict[str, Any]:
        p = msgspec.convert(_document(line), _Product)
        return {ITEM: p.asin, TITLE: _plain(p.title), BRAND: _plain(p.brand), CATEGORIES: _flatten(p)}

    with warnings.catch_warnings():  # Python literals of 2014 hold escapes that Python now warns of
        warnings.simplefilter("ignore")
        return items_table(path, _read(path, parse, _ITEM_SCHEMA))


def _read(path: Path, parse: _Parse, schema: dict[str, Any]) -> Iterator[pl.DataFrame]:
    for lines in read_bytes_lines(path):
        rows = [_row(number, line, parse) for number, line in lines]
        yield pl.DataFrame(rows, schema={LINE: pl.Int64, CONTENT: pl.String, REASON: pl.String, **schema})


def _row(number: int, line: bytes, parse: _Parse) -> dict[str, Any]:
    try:
        return {LINE: number, **parse(line)}
    except msgspec.ValidationError as exc:
        reason = str(exc)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as exc:
        reason = f"not JSON ({type(exc).__name__})"
    return {LINE: number, CONTENT: line.decode(errors="replace"), REASON: reason}


def _document(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return ast.literal_eval(line.decode())


def _plain(text: str | None) -> str | None:
    return html.unescape(text) if text else None


def _flatten(product: _Product) -> list[str]:
    paths: Sequence[str | list[str]] = product.categories or product.category or []
    return [html.unescape(name) for path in paths for name in ([path] if isinstance(path, str) else path)]
