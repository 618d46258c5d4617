"""Which arrangement a request wants, of what, and what comes of it."""

from collections.abc import Collection, Mapping

import numpy as np

from models.contract.selection import Selection
from models.contract.types import Array, Floats, Ints
from service.gateway.bundles.item_attributes import values_of
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ApiError
from service.gateway.ranking.arrange import Arrangement, Kind, Traits
from service.gateway.ranking.settings import Pipeline
from service.gateway.ranking.user import User
from service.gateway.types import Query, UserState

LARGEST_POOL = 500


def pool_size(n: int) -> int:
    """How many ranked items the ``n`` of a list are picked from: enough to choose, few enough to be near the top."""
    return min(max(5 * n, 50), LARGEST_POOL)


def arrangement(query: Query, pipeline: Pipeline, snapshot: Snapshot) -> Arrangement | None:
    """What the request asks for, or else the pipeline; None where neither asks for anything.

    Raises:
        ApiError: the request caps an attribute that no item of the bundle has.
    """
    diversity = pipeline.diversity if query.diversity is None else query.diversity
    max_per = pipeline.max_per if query.max_per is None else query.max_per
    rotation = pipeline.rotation
    if not (diversity or max_per or rotation):
        return None
    if query.max_per:
        _check_known(query.max_per, snapshot.attribute_names)
    if rotation is None:
        return Arrangement(diversity, max_per)
    return Arrangement(diversity, max_per, rotation.discount, rotation.window_s)


def traits(
    pool: Selection, wanted: Arrangement, user: User, state: UserState, snapshot: Snapshot, now: float
) -> Traits:
    """What the arrangement needs to know of the pool's items. ``now`` is in seconds since 1970."""
    shown = np.zeros(len(pool.items), np.int32)
    if wanted.discount and len(state.shown):
        shown = _times_shown(pool.items, _in_vain(state, user, snapshot, now - wanted.window_seconds))
    return Traits(
        vectors=_unit(snapshot.cf.item_factors[pool.items] if wanted.diversity else np.empty((len(shown), 0))),
        kinds=[_kinds(number, wanted.max_per, snapshot) for number in pool.items.tolist()] if wanted.max_per else [],
        shown=shown,
    )


def picked(pool: Selection, positions: list[int]) -> Selection:
    """The part of the pool at ``positions``, in that order. Scores stay what they were: no longer in falling order."""
    return Selection(pool.items[positions], pool.scores[positions], tuple(pool.sources[at] for at in positions))


def _check_known(max_per: Mapping[str, int], known: Collection[str]) -> None:
    for name in max_per:
        if name not in known:
            expected = ", ".join(sorted(known)) or "(none)"
            raise ApiError(422, "invalid_request", f"No item has it; expected one of {expected}", f"max_per.{name}")


def _kinds(number: int, max_per: Mapping[str, int], snapshot: Snapshot) -> tuple[Kind, ...]:
    item = snapshot.catalogue.items[number]
    return tuple((name, value) for name in max_per for value in values_of(item, name))


def _unit(vectors: Array) -> Floats:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None], np.float32)


def _in_vain(state: UserState, user: User, snapshot: Snapshot, since: float) -> Ints:
    """An item number for each showing since then of an item that is neither in the history nor in the seen set."""
    recent = state.shown["item"][state.shown["time"] >= since]
    numbers = snapshot.items_of(recent[~np.isin(recent, state.seen)])
    return numbers[~np.isin(numbers, user.history)]


def _times_shown(items: Ints, showings: Ints) -> Ints:
    numbers, counts = np.unique(np.concatenate([items, showings]), return_counts=True)
    return np.asarray(counts[np.searchsorted(numbers, items)] - 1, np.int32)  # each item is itself among them, once
