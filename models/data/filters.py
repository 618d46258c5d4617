"""From interactions as read to the ones that count: rating threshold, order, duplicates, k-core."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.contract.errors import DataError
from models.data.canonical import SPLIT_NAMES
from models.data.columns import ITEM, POSITION, RATING, SPLIT, TIMESTAMP, USER

DuplicatePolicy = Literal["first", "last", "all"]


@dataclass(frozen=True)
class Filters:
    """What is kept.

    Args:
        min_rating: interactions rated below are left out; None keeps all.
        duplicates: which of several interactions of the same user and item is kept.
        core_users: interactions that every user must have, after all else; 1 keeps all.
        core_items: interactions that every item must have.
    """

    min_rating: float | None = None
    duplicates: DuplicatePolicy = "first"
    core_users: int = 1
    core_items: int = 1


@dataclass(frozen=True)
class FilterReport:
    """How many interactions each filter left out."""

    below_min_rating: int
    duplicates: int
    outside_core: int


def apply_filters(interactions: pl.DataFrame, filters: Filters) -> tuple[pl.DataFrame, FilterReport]:
    """Filtered interactions, by user id and each user's oldest first. Raises DataError where nothing is left."""
    rated = at_least(interactions, filters.min_rating)
    distinct = drop_duplicates(chronological(rated), filters.duplicates)
    core = k_core(distinct, filters.core_users, filters.core_items)
    report = FilterReport(
        interactions.height - rated.height, rated.height - distinct.height, distinct.height - core.height
    )
    if core.is_empty():
        raise DataError(f"no interaction is left of {interactions.height:,}: {report}")
    return core, report


def at_least(interactions: pl.DataFrame, min_rating: float | None) -> pl.DataFrame:
    """Interactions rated ``min_rating`` or better. Raises DataError where some have no rating at all."""
    if min_rating is None:
        return interactions
    unrated = interactions[RATING].null_count()
    if unrated:
        raise DataError(
            f"{RATING}: min_rating is {min_rating:g}, but {unrated:,} of {interactions.height:,} have no rating"
        )
    return interactions.filter(pl.col(RATING) >= min_rating)


def chronological(interactions: pl.DataFrame) -> pl.DataFrame:
    """By user id, then oldest first: timestamp, position, given split, file order.

    A user with any unknown timestamp is ordered without timestamps: an order that mixes both would be neither.
    A split that came with the data breaks ties before the file's order does, so that at one instant train comes first.
    """
    untimed = pl.col(TIMESTAMP).is_null().any().over(USER)
    given = pl.col(SPLIT).replace_strict(SPLIT_NAMES, range(len(SPLIT_NAMES)), return_dtype=pl.Int8, default=None)
    time = pl.when(~untimed).then(pl.col(TIMESTAMP))
    return interactions.sort(pl.col(USER), time, pl.col(POSITION), given, maintain_order=True)


def drop_duplicates(ordered: pl.DataFrame, keep: DuplicatePolicy) -> pl.DataFrame:
    """Keep the first or last interaction of each user with each item, or all of them. Expects and keeps the order."""
    if keep == "all":
        return ordered
    return ordered.unique([USER, ITEM], keep=keep, maintain_order=True)


def k_core(interactions: pl.DataFrame, users: int, items: int) -> pl.DataFrame:
    """The largest part in which every user has ``users`` interactions and every item ``items``.

    Leaving out a user can take an item below its threshold and the other way round, so both are repeated until
    nothing changes. Counting is done on integer codes.
    """
    if users <= 1 and items <= 1:
        return interactions
    user_codes, item_codes = _codes(interactions, USER), _codes(interactions, ITEM)
    rows = np.arange(interactions.height)
    while len(rows):
        kept = _frequent(user_codes[rows], users) & _frequent(item_codes[rows], items)
        if kept.all():
            break
        rows = rows[kept]
    return interactions[rows]


def _frequent(codes: NDArray[np.int64], minimum: int) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(codes)[codes] >= minimum)


def _codes(interactions: pl.DataFrame, column: str) -> NDArray[np.int64]:
    distinct = interactions.select(pl.col(column).unique()).with_row_index("code")
    coded = interactions.select(column).join(distinct, on=column, how="left", maintain_order="left")
    return coded["code"].to_numpy().astype(np.int64)
