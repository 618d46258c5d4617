"""Labelled pairs whose right answer is known: users like the items of their colour, and no others."""

from pathlib import Path

import numpy as np
import polars as pl

from models.data.labelled import LabelledData, read_labelled


def labelled_board(directory: Path, n_users: int = 30, n_items: int = 20, seed: int = 0) -> LabelledData:
    """Even users like even items, odd users odd ones; each met all items in random order, the last six are held out.

    The directory is written in the format that :func:`read_labelled` reads.
    """
    rng = np.random.default_rng(seed)
    splits = ["train"] * (n_items - 6) + ["valid"] * 3 + ["test"] * 3
    rows = [
        (f"u{user:02}", f"i{item:02}", int(user % 2 == item % 2), split)
        for user in range(n_users)
        for item, split in zip(rng.permutation(n_items).tolist(), splits, strict=True)
    ]
    write_labelled(directory, rows, [f"i{item:02}" for item in range(n_items)])
    return read_labelled(directory)


def write_labelled(directory: Path, rows: list[tuple[str, str, int, str]], items: list[str]) -> None:
    """Write rows of (user, item, label, split), in the order of time, and items titled after their ids."""
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "label", "split"], orient="row")
    table.with_row_index("order").write_parquet(directory / "interactions.parquet")
    described = {
        "item_id": items,
        "title": [f"Title, The {item}" for item in items],
        "categories": ["Drama|War"] * len(items),
    }
    pl.DataFrame(described).write_parquet(directory / "items.parquet")
