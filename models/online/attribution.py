"""Which list an event came from: the one that it names, else the last one that showed its user the item in time."""

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from models.online.columns import ITEM, ITEMS, REQUEST, SHADOW, TIME, USER


@dataclass(frozen=True)
class Attributed:
    """Events with the list that they came from.

    Args:
        events: in ``request_id`` the list that they came from.
        n_named: how many named it.
        n_within: how many were found by user, item and time.
        n_unknown: events that came from no list, left out.
    """

    events: pl.DataFrame
    n_named: int
    n_within: int
    n_unknown: int


def attribute(events: pl.DataFrame, exposures: pl.DataFrame, window: timedelta) -> Attributed:
    """Give every event its list.

    An id that another user's list has, or none, counts as if the event had named nothing.

    Args:
        events: as exported.
        exposures: as exported; lists that were not shown are passed over.
        window: how long after a list an event that names none may still come from it.
    """
    shown = exposures.filter(pl.col(SHADOW) == "")
    lists = shown.select(REQUEST, USER)
    named = events.join(lists, (REQUEST, USER), "semi")
    rest = events.join(lists, (REQUEST, USER), "anti")
    within = _within(rest, shown, window)
    found = pl.concat([named, within])
    return Attributed(found, named.height, within.height, events.height - found.height)


def _within(events: pl.DataFrame, shown: pl.DataFrame, window: timedelta) -> pl.DataFrame:
    lists = shown.select(REQUEST, USER, TIME, pl.col(ITEMS).alias(ITEM)).explode(ITEM, empty_as_null=False)
    matched = (
        events.drop(REQUEST)
        .sort(TIME)
        .join_asof(
            lists.sort(TIME), on=TIME, by=[USER, ITEM], strategy="backward", tolerance=window, check_sortedness=False
        )
    )
    return matched.filter(pl.col(REQUEST).is_not_null()).select(events.columns)
