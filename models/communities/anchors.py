"""Anchors by greedy coverage (L3Rec, section 4.1, after LOCA, WSDM 2021), and the settings of communities."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.communities.coverage import Approach, Coverage
from models.config import option
from models.contract.affinity import LARGEST_DISTANCE, Kernel, affinities
from models.contract.errors import ConfigError, DataError
from models.contract.types import Floats

Assignment = Literal["user", "user-item"]
Rows = NDArray[np.int64]

SPREAD_SAMPLE = 2**14  # users that decide between candidates who cover equally many; 131 MB for 2000 candidates


@dataclass(frozen=True)
class CommunityConfig:
    """How communities are found. Raises ConfigError where there may be fewer candidates than communities."""

    n_communities: int = option(10, "Communities, q in the paper; each trains one local model", low=1)
    bandwidth: float = option(
        1.0,
        "Distance below which a user belongs to an anchor, h in the paper; 1 is a right angle",
        low=0.01,
        high=LARGEST_DISTANCE,
    )
    inference_bandwidth: float | None = option(
        None,
        "Distance below which a community is asked for a user's list; unset: bandwidth",
        low=0.01,
        high=LARGEST_DISTANCE,
    )
    kernel: Kernel = option(
        "epanechnikov", "How affinity falls with distance: epanechnikov (the paper's), uniform, or truncated gaussian"
    )
    assignment: Assignment = option(
        "user", "What belongs to a community: users (U in the paper), or users and items (UI, task top-n only)"
    )
    min_users: int = option(
        1, "Users that a community has at least; above 1, outliers far from everybody do not become anchors", low=1
    )
    candidate_share: float = option(0.1, "Share of users who may become anchors (LOCA: every tenth)", low=0, high=1)
    max_candidates: int = option(2000, "Most users who may become anchors; bounds time and memory", low=1)
    seed: int = option(0, "Seed of the draw of candidates", low=0)

    def __post_init__(self) -> None:
        if self.n_communities > self.max_candidates:
            raise ConfigError(
                f"n_communities: {self.n_communities} is out of range;"
                f" expected at most max_candidates, {self.max_candidates}"
            )

    @property
    def serving_bandwidth(self) -> float:
        """The bandwidth that decides which communities answer for a user."""
        return self.bandwidth if self.inference_bandwidth is None else self.inference_bandwidth


def find_anchors(embeddings: Floats, config: CommunityConfig) -> Rows:
    """Choose anchor users, greedily: next comes the candidate who covers most users that no anchor covers so far.

    Of candidates who cover equally many, the one who brings users nearest to an anchor comes first: whose choice lowers
    the sum of the distances to the nearest anchor most, over all users or ``SPREAD_SAMPLE`` of them; then the lower
    row. As nobody may be left to cover after a few anchors (at bandwidth 1 one anchor covers most users), it is this
    rule that then spreads the others over the users. LOCA takes the first user again and again there.

    Every distance is looked at once. Memory is n · c bits for n users and c candidates, and c · ``SPREAD_SAMPLE``
    float32, three times over while they are computed.

    Args:
        embeddings: (n, d) of all users.
        config: see :class:`CommunityConfig`.

    Returns:
        (q,) rows of ``embeddings``, distinct, in the order of choice: a smaller q gives a prefix, as long as the
        candidates are the same.

    Raises:
        ConfigError: more communities than users, or than candidates have enough users.
        DataError: an embedding is not finite.
    """
    _check(embeddings, config)
    rows = _draw_candidates(len(embeddings), config)
    candidates = embeddings[rows]
    coverage = Coverage(candidates, embeddings, config.bandwidth)
    too_small = coverage.gains() < config.min_users
    _check_sizes(too_small, config)
    approach = Approach(candidates, embeddings[_draw_sample(len(embeddings), config.seed)])
    chosen: list[int] = []
    while len(chosen) < config.n_communities:
        gains = coverage.gains()
        gains[too_small] = gains[chosen] = -1
        tied = np.flatnonzero(gains == gains.max())
        best = int(tied[np.argmax(approach.gains(tied))])
        chosen.append(best)
        coverage.add(best)
        approach.add(best)
    return rows[chosen]


def item_members(anchors: Floats, item_factors: Floats, config: CommunityConfig) -> Floats:
    """Affinity of each item to each anchor user, 0 for items outside V_j: user-and-item assignment, section 4.1.

    Args:
        anchors: (q, d) embeddings of the anchor users.
        item_factors: (n_items, d), the items in the space that the CF model puts users in.
        config: bandwidth and kernel are the users' own.

    Returns:
        (n_items, q).

    Raises:
        ConfigError: a community has no items.
    """
    weights = affinities(anchors, item_factors, config.bandwidth, config.kernel)
    if empty := np.flatnonzero(~weights.any(axis=0)).tolist():
        raise ConfigError(
            f"communities.bandwidth: {config.bandwidth} leaves community {empty[0]} without items;"
            " expected a larger bandwidth, or assignment user"
        )
    return weights


def _check(embeddings: Floats, config: CommunityConfig) -> None:
    n = len(embeddings)
    if config.n_communities > n:
        raise ConfigError(
            f"communities.n_communities: {config.n_communities} is out of range; expected at most {n}, one a user"
        )
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise DataError(f"user embeddings: row {int(np.argmin(finite))} is not finite")


def _check_sizes(too_small: NDArray[np.bool_], config: CommunityConfig) -> None:
    left = len(too_small) - np.count_nonzero(too_small)
    if left < config.n_communities:
        raise ConfigError(
            f"communities.min_users: {config.min_users} users within {config.bandwidth} have {left} of"
            f" {len(too_small)} candidates, n_communities is {config.n_communities}; expected fewer users or"
            " communities, or a larger bandwidth"
        )


def _draw_candidates(n: int, config: CommunityConfig) -> Rows:
    """Rows in ascending order. Drawn, where LOCA steps: the order of users may mean something."""
    wanted = max(config.n_communities, min(config.max_candidates, int(np.ceil(config.candidate_share * n))))
    return np.sort(np.random.default_rng(config.seed).choice(n, size=wanted, replace=False))


def _draw_sample(n: int, seed: int) -> Rows:
    """Rows of the users who decide between equals: all, where there are no more than ``SPREAD_SAMPLE``."""
    if n <= SPREAD_SAMPLE:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 1]).choice(n, size=SPREAD_SAMPLE, replace=False))
