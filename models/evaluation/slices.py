"""Groups of test examples: by how much is known of the user, and of the item that is to be found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import Dataset
from models.types import Examples

HISTORY_BOUNDS = (5, 10, 20, 50)
POPULARITY_BOUNDS = (1, 5, 20, 100)  # the first group has never been met in training, the next is cold


@dataclass(frozen=True)
class Slice:
    """Some of the examples.

    Args:
        group: what the examples were sliced by.
        name: which values these have, ``5-9``.
        rows: (n,) row numbers.
    """

    group: str
    name: str
    rows: NDArray[np.int64]


def slices(examples: Examples, training_counts: NDArray[np.int64]) -> list[Slice]:
    """The examples by history length, and by training interactions (n_items,) of their target. None is empty."""
    return [
        *_by(HISTORY_BOUNDS, "history length", np.diff(examples.histories.offsets)),
        *_by(POPULARITY_BOUNDS, "target's training interactions", training_counts[examples.targets]),
    ]


def training_counts(dataset: Dataset) -> NDArray[np.int64]:
    """(n_items,) interactions of every item in the train part."""
    return np.bincount(dataset.train.items, minlength=len(dataset.catalogue)).astype(np.int64)


def _by(bounds: tuple[int, ...], group: str, values: NDArray[np.int64]) -> list[Slice]:
    places = np.digitize(values, bounds)
    found = [Slice(group, _name(place, bounds), np.flatnonzero(places == place)) for place in range(len(bounds) + 1)]
    return [part for part in found if len(part.rows)]


def _name(place: int, bounds: tuple[int, ...]) -> str:
    if place == len(bounds):
        return f"{bounds[-1]}+"
    low, high = (bounds[place - 1] if place else 0), bounds[place] - 1
    return str(low) if low == high else f"{low}-{high}"
