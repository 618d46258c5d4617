"""Do users whose indices begin alike have similar texts and histories? (Section 4.1 takes it that they do.)"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.contract.types import Array, Floats, Ints
from models.evaluation.metrics import Interval, bootstrap
from models.evaluation.tables import Table, mean_and_half
from models.types import Sequences

PAIRS = 20_000  # of users, drawn for each length of prefix


@dataclass(frozen=True)
class PrefixSimilarity:
    """Pairs of users who share a prefix.

    Args:
        shared: codes that they share; 0: any two users.
        pairs: that there are.
        cosine: of their texts.
        jaccard: of the items that they have met.
        met: share of the pairs who have met an item in common.
    """

    shared: int
    pairs: int
    cosine: Interval
    jaccard: Interval
    met: Interval


def prefix_similarity(
    indices: Ints, vectors: Floats, histories: Sequences, seed: int, n_pairs: int = PAIRS
) -> tuple[PrefixSimilarity, ...]:
    """How alike users are who share 0, 1, … codes, all but the last at most: no two users share all.

    Args:
        indices: (n_users, levels).
        vectors: (n_users, d) of the users' texts.
        histories: the users' items.
        seed: of the pairs that are drawn, with replacement, from all that there are, and of the intervals.
        n_pairs: drawn for each length, at most as many as there are.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    items = [frozenset(histories[user].tolist()) for user in range(len(histories))]
    rng = np.random.default_rng(seed)
    found = []
    for shared in range(indices.shape[1]):
        one, other, count = _pairs(indices[:, :shared], n_pairs, rng)
        cosines = (
            np.einsum("nd,nd->n", unit[one], unit[other]).astype(np.float64).round(3)
        )  # few values: quick intervals
        alike = np.asarray([_jaccard(items[u], items[v]) for u, v in zip(one, other, strict=True)], np.float64)
        intervals = (bootstrap(values, seed) for values in (cosines, alike, (alike > 0).astype(np.float64)))
        found.append(PrefixSimilarity(shared, count, *intervals))
    return tuple(found)


def similarity_table(similarities: tuple[PrefixSimilarity, ...]) -> Table:
    """The same for people, with half the width of each 95 % interval."""
    rows = tuple(
        (str(s.shared), f"{s.pairs:,}", mean_and_half(s.cosine), mean_and_half(s.jaccard), mean_and_half(s.met))
        for s in similarities
    )
    header = ("codes shared", "pairs", "cosine of texts", "Jaccard of histories", "pairs with a common item")
    return Table("Users whose indices begin alike", header, rows)


def _pairs(prefixes: Array, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Pairs of different rows with equal prefixes, each pair as likely as any other, and how many there are."""
    groups, sizes = _grouped(prefixes)
    weights = sizes * (sizes - 1) // 2
    total = int(weights.sum())
    if not total:
        nobody = np.empty(0, np.int64)
        return nobody, nobody, 0
    order = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    drawn = rng.choice(len(sizes), size=min(n, total), p=weights / total)
    first = rng.integers(0, sizes[drawn])
    second = (first + rng.integers(1, sizes[drawn])) % sizes[drawn]  # never the first
    return order[starts[drawn] + first], order[starts[drawn] + second], total


def _grouped(prefixes: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) which of the distinct rows each row is, and how often each of these is there."""
    if not prefixes.shape[1]:
        return np.zeros(len(prefixes), np.int64), np.asarray([len(prefixes)])
    _, groups, sizes = np.unique(prefixes, axis=0, return_inverse=True, return_counts=True)
    return groups.reshape(-1), sizes


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    either = len(one | other)
    return len(one & other) / either if either else 0.0
