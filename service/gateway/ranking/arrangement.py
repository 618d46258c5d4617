"""Which arrangement a request wants, of what, and what comes of it."""

from collections.abc import Collection, Mapping

import numpy as np

from models.contract.numbers import among
from models.contract.types import Array, Floats, Ints
from service.gateway.bundles.attributes import values_of
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ApiError
from service.gateway.ranking.arrange import Arrangement, Kind, Traits, arrange
from service.gateway.ranking.course import Arranged, Course
from service.gateway.ranking.settings import Pipeline
from service.gateway.types import Query

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
        _check_known(query.max_per, snapshot.attributes.names)
    if rotation is None:
        return Arrangement(diversity, max_per)
    return Arrangement(diversity, max_per, rotation.discount, rotation.window_s)


def pick(course: Course, wanted: Arrangement, n: int, snapshot: Snapshot, now: float) -> Arranged:
    """Pick ``n`` items of the course's pool. ``now`` is in seconds since 1970."""
    traits = _traits(course, wanted, snapshot, now)
    return Arranged(wanted, traits, arrange(wanted, traits, n))


def _traits(course: Course, wanted: Arrangement, snapshot: Snapshot, now: float) -> Traits:
    """No more than the arrangement needs to know of the pool's items."""
    items = course.pool.items
    shown = np.zeros(len(items), np.int32)
    if wanted.discount and len(course.state.shown):
        shown = _times_shown(course, snapshot, now - wanted.window_seconds)
    return Traits(
        vectors=_unit(snapshot.cf.item_factors[items] if wanted.diversity else np.empty((len(items), 0))),
        kinds=[_kinds(number, wanted.max_per, snapshot) for number in items.tolist()] if wanted.max_per else [],
        shown=shown,
    )


def _check_known(max_per: Mapping[str, int], known: Collection[str]) -> None:
    for name in max_per:
        if name not in known:
            expected = ", ".join(sorted(known)) or "(none)"
            raise ApiError(422, "invalid_request", f"No item has it; expected one of {expected}", f"max_per.{name}")


def _kinds(number: int, max_per: Mapping[str, int], snapshot: Snapshot) -> tuple[Kind, ...]:
    item = snapshot.catalogue.items[number]
    kinds = ((name, value) for name in max_per for value in values_of(item, name))
    return tuple(dict.fromkeys(kinds))  # a category that is named twice counts once


def _unit(vectors: Array) -> Floats:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None], np.float32)


def _times_shown(course: Course, snapshot: Snapshot, since: float) -> Ints:
    """How many showings since then each item has. One in the history or the seen set was not shown in vain: none."""
    items, state = course.pool.items, course.state
    showings = snapshot.items_of(state.shown["item"][state.shown["time"] >= since])
    numbers, counts = np.unique(np.concatenate([items, showings]), return_counts=True)
    times = counts[np.searchsorted(numbers, items)] - 1  # each item is itself among them, once
    acted_upon = np.concatenate([snapshot.items_of(state.seen), course.user.history])
    return np.where(among(items, acted_upon), 0, times).astype(np.int32)
