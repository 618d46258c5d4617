"""Recorded events as an interactions table, for ``localrec data prepare --source table``."""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from models.contract.errors import DataError
from models.data.columns import ITEM, RATING, TIMESTAMP, USER
from models.online import columns as c
from models.online.tables import write_part

RATED = "rating"


def write_interactions(events: pl.DataFrame, path: Path, types: Collection[str]) -> int:
    """Write the events of some types as interactions, oldest first; how many they are.

    Args:
        events: an exported table.
        path: ``.parquet``.
        types: of the events that count as an interaction.

    Raises:
        DataError: the path has another suffix, or no event is of these types.
    """
    if path.suffix != ".parquet":
        raise DataError(f"{path}: expected a name that ends in .parquet")
    chosen = events.filter(pl.col(c.TYPE).is_in(list(types))).sort(c.TIME, c.EVENT)
    if chosen.is_empty():
        raise DataError(f"{path}: none of {events.height:,} events is a {' or a '.join(types)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_part(chosen.select(*_columns()), path)
    return chosen.height


def _columns() -> list[pl.Expr]:
    """Only a rating's value is stars: a purchase's is money."""
    return [
        pl.col(c.USER).alias(USER),
        pl.col(c.ITEM).alias(ITEM),
        pl.col(c.TIME).dt.epoch("s").alias(TIMESTAMP),
        pl.when(pl.col(c.TYPE) == RATED).then(pl.col(c.VALUE)).cast(pl.Float32).alias(RATING),
    ]
