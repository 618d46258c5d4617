"""Batches of sequences of about the same length: on short histories padding would otherwise be most of the work."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SORTED_BATCHES = 40  # batches whose sequences are sorted by length together; more would make batches too much alike


def of_like_lengths(lengths: NDArray[np.int64], size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Rows in batches of ``size``, in random order; drawn in groups of batches, sorted by length inside a group.

    Args:
        lengths: (n,) of the sequences.
        size: of a batch; some are smaller.
        rng: draws.
    """
    order, group = rng.permutation(len(lengths)), size * SORTED_BATCHES
    groups = [order[at : at + group] for at in range(0, len(order), group)]
    ordered = [rows[np.argsort(lengths[rows], kind="stable")] for rows in groups]
    batches = [rows[at : at + size] for rows in ordered for at in range(0, len(rows), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def shortest_first(lengths: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Rows in batches of ``size`` by their ``lengths`` (n,): for scoring, where the order does not matter."""
    order = np.argsort(lengths, kind="stable")
    return (order[at : at + size] for at in range(0, len(order), size))
