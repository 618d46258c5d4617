"""What a person wants to know of communities: sizes, coverage, overlap (L3Rec, table 2), and typical items."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.cf.matrix import interaction_matrix
from models.contract.types import Floats
from models.types import Sequences

LIFT_PRIOR = 10.0  # users' worth of evidence that a community is like everybody


@dataclass(frozen=True)
class CommunityStatistics:
    """Counts of the members of q communities: users, or items.

    Args:
        sizes: members of each community.
        mean_size: members of a community, on average; table 2's "# User".
        mean_share: the same as a share of everybody; what table 2 calls coverage (its two columns give the ratio).
        coverage: share of everybody who belongs to at least one community.
        mean_memberships: communities that one belongs to, on average over everybody.
        overlap: (q, q) shares; row i, column j: how much of community i belongs to community j, too.
    """

    sizes: tuple[int, ...]
    mean_size: float
    mean_share: float
    coverage: float
    mean_memberships: float
    overlap: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Characteristic:
    """An item that a community meets more often than users do on the whole, ``lift`` times as often."""

    item: int
    lift: float


def describe(weights: Floats) -> CommunityStatistics:
    """Statistics of affinities (n, q), 0 outside a community."""
    member = (weights > 0).astype(np.float32)
    sizes = member.sum(axis=0, dtype=np.float64)
    overlap = (member.T @ member) / np.maximum(sizes, 1)[:, None]
    n = max(len(member), 1)
    return CommunityStatistics(
        sizes=tuple(sizes.astype(int).tolist()),
        mean_size=float(sizes.mean()),
        mean_share=float(sizes.mean()) / n,
        coverage=float(member.any(axis=1).sum()) / n,
        mean_memberships=float(sizes.sum()) / n,
        overlap=tuple(tuple(row) for row in overlap.tolist()),
    )


def characteristic_items(
    weights: Floats, histories: Sequences, n_items: int, n: int
) -> tuple[tuple[Characteristic, ...], ...]:
    """Each community's ``n`` items of highest lift, for a person to name it by.

    Users count by their affinity, so communities that share most users still differ. The lift is
    (observed + m) / (expected + m) with m = ``LIFT_PRIOR``: pulled towards 1 where the evidence is thin, so that one
    user's rarities do not name a community. Expected is what the item's share among all users would give.

    Args:
        weights: (n_users, q) affinities.
        histories: the same users' histories.
        n_items: size of the catalogue.
        n: items wanted; fewer come back where a community has met fewer.

    Returns:
        q tuples, highest lift first, equal lifts by item number.
    """
    interactions = interaction_matrix(histories, n_items)
    shares = np.asarray(interactions.mean(axis=0), dtype=np.float64).ravel()
    observed = np.asarray((interactions.T @ weights).T, dtype=np.float64)
    expected = weights.sum(axis=0, dtype=np.float64)[:, None] * shares
    lifts = np.where(observed > 0, (observed + LIFT_PRIOR) / (expected + LIFT_PRIOR), 0.0)
    return tuple(_highest(row, n) for row in lifts)


def _highest(lifts: NDArray[np.float64], n: int) -> tuple[Characteristic, ...]:
    order = np.argsort(-lifts, kind="stable")[:n]
    return tuple(Characteristic(int(item), float(lifts[item])) for item in order if lifts[item] > 0)
