"""Local communities of users: anchors by greedy coverage (L3Rec, section 4.1, after LOCA, WSDM 2021).

The affinities that follow from the anchors are the contract's: :func:`models.contract.affinity.affinities`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.cf.matrix import interaction_matrix
from models.config import option
from models.contract.affinity import arccos_distance, epanechnikov
from models.contract.errors import ConfigError, DataError
from models.contract.types import Floats
from models.types import Sequences

DISTANCES_AT_ONCE = 2**23  # 32 MB of float32 a temporary array
LARGEST_DISTANCE = 2.0
LIFT_PRIOR = 10.0  # users' worth of evidence that a community is like everybody

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CommunityConfig:
    """How communities are found."""

    n_communities: int = option(10, "Communities, q in the paper; each trains one local model", low=1)
    bandwidth: float = option(1.0, "Distance below which a user belongs to an anchor, h in the paper", low=0.01, high=1)
    candidate_share: float = option(0.1, "Share of users who may become anchors (LOCA: every tenth)", low=0, high=1)
    max_candidates: int = option(2000, "Most users who may become anchors; bounds the time for many users", low=1)
    seed: int = option(0, "Seed of the draw of candidates", low=0)


@dataclass(frozen=True)
class CommunityStatistics:
    """What a person wants to know of the communities, for n users and q communities.

    Args:
        n_users: users in each community.
        coverage: share of all users who belong to at least one.
        mean_memberships: communities a user belongs to, on average over all users.
        overlap: (q, q) shares; row i, column j: how much of community i belongs to community j, too.
    """

    n_users: tuple[int, ...]
    coverage: float
    mean_memberships: float
    overlap: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Characteristic:
    """An item that a community meets more often than users do on the whole, ``lift`` times as often."""

    item: int
    lift: float


def find_anchors(embeddings: Floats, config: CommunityConfig) -> Rows:
    """Choose anchor users, greedily: next comes the candidate who covers most users that no anchor covers so far.

    Of candidates who cover equally many, the one who brings users nearest to an anchor comes first: whose choice lowers
    the sum over all users of the distance to their nearest anchor most; then the lower row. As nobody may be left to
    cover after a few anchors (at bandwidth 1 one anchor covers most users), it is this rule that then spreads the
    others over the users. LOCA takes the first user again and again there.

    Args:
        embeddings: (n, d) of all users.
        config: see :class:`CommunityConfig`.

    Returns:
        (q,) rows of ``embeddings``, distinct, in the order of choice: a smaller q gives a prefix, as long as the
        candidates are the same.

    Raises:
        ConfigError: more communities than users, or than candidates may be drawn.
        DataError: an embedding is not finite.
    """
    _check(embeddings, config)
    candidates = _draw_candidates(len(embeddings), config)
    nearest = np.full(len(embeddings), LARGEST_DISTANCE, np.float32)
    free = np.ones(len(candidates), dtype=bool)
    anchors: list[int] = []
    while len(anchors) < config.n_communities:
        covered, approached = _gains(embeddings[candidates], embeddings, nearest, config.bandwidth)
        best = np.lexsort((-approached, -covered, ~free))[0]
        free[best] = False
        anchors.append(int(candidates[best]))
        distance = arccos_distance(embeddings[candidates[best : best + 1]], embeddings)[:, 0]
        nearest = np.minimum(nearest, distance)
    return np.asarray(anchors, dtype=np.int64)


def describe(weights: Floats) -> CommunityStatistics:
    """Statistics of affinities (n, q), 0 outside a community."""
    member = weights > 0
    sizes = member.sum(axis=0)
    both = member.T.astype(np.float64) @ member
    overlap = both / np.maximum(sizes, 1)[:, None]
    return CommunityStatistics(
        n_users=tuple(sizes.tolist()),
        coverage=float(member.any(axis=1).mean()) if len(member) else 0.0,
        mean_memberships=float(member.sum(axis=1).mean()) if len(member) else 0.0,
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


def _check(embeddings: Floats, config: CommunityConfig) -> None:
    n = len(embeddings)
    if config.n_communities > min(n, config.max_candidates):
        raise ConfigError(
            f"n_communities: {config.n_communities} is out of range; expected at most {min(n, config.max_candidates)}"
            f" ({n} users, max_candidates {config.max_candidates})"
        )
    if not np.isfinite(embeddings).all():
        row = int(np.flatnonzero(~np.isfinite(embeddings).all(axis=1))[0])
        raise DataError(f"user embeddings: row {row} is not finite")


def _draw_candidates(n: int, config: CommunityConfig) -> Rows:
    """Rows in ascending order. Drawn, where LOCA steps: the order of users may mean something."""
    wanted = max(config.n_communities, min(config.max_candidates, int(np.ceil(config.candidate_share * n))))
    return np.sort(np.random.default_rng(config.seed).choice(n, size=wanted, replace=False))


def _gains(candidates: Floats, users: Floats, nearest: Floats, bandwidth: float) -> tuple[Rows, NDArray[np.float64]]:
    """What each candidate (c, d) would bring: users newly covered, and distance to the nearest anchor saved, (c,) each.

    ``nearest`` is (n,): the users' distances to their nearest anchor so far. In blocks of users, so memory is bounded.
    """
    covered = np.zeros(len(candidates), dtype=np.int64)
    approached = np.zeros(len(candidates))
    block = max(1, DISTANCES_AT_ONCE // len(candidates))
    uncovered = epanechnikov(nearest, bandwidth) == 0
    for at in range(0, len(users), block):
        rows = slice(at, at + block)
        distance = arccos_distance(candidates, users[rows])
        covered += (epanechnikov(distance, bandwidth)[uncovered[rows]] > 0).sum(axis=0)
        approached += np.maximum(nearest[rows, None] - distance, 0.0).sum(axis=0, dtype=np.float64)
    return covered, approached


def _highest(lifts: NDArray[np.float64], n: int) -> tuple[Characteristic, ...]:
    order = np.argsort(-lifts, kind="stable")[:n]
    return tuple(Characteristic(int(item), float(lifts[item])) for item in order if lifts[item] > 0)
