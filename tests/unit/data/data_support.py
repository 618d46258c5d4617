"""Small tables for the tests of the data stage."""

from pathlib import Path

import polars as pl

from models.data.canonical import INTERACTIONS

SHARED = Path(__file__).parents[3] / "../shared/data"


def interactions(*rows: tuple[str, str, int | None], **columns: list[object]) -> pl.DataFrame:
    """Canonical interactions from (user, item, timestamp) and further columns."""
    users, items, timestamps = zip(*rows, strict=True) if rows else ((), (), ())
    values = {"user_id": users, "item_id": items, "timestamp": timestamps, **columns}
    table = {name: values.get(name, [None] * len(rows)) for name in INTERACTIONS}
    return pl.DataFrame(table, schema=dict(INTERACTIONS))


def pairs(frame: pl.DataFrame) -> list[tuple[str, str]]:
    """(user, item) of every row."""
    return list(frame.select("user_id", "item_id").iter_rows())


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a text file as it stands."""
    path.write_bytes(text.encode(encoding))
    return path
