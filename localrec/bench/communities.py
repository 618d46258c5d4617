"""``localrec bench communities``: discovery of anchors among synthetic users, against the bare matrix products."""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from localrec.bench.report import report
from models.communities import CommunityConfig, describe, find_anchors
from models.contract.affinity import affinities
from models.contract.types import Floats

T = TypeVar("T")

BLOCK = 4096  # users in one product of the reference
CENTRES = 50
WARM_UP_USERS = 20_000


@dataclass(frozen=True)
class CommunitiesBenchOptions:
    """Users around ``CENTRES`` random points, as many dimensions, communities and candidates as are asked for."""

    n_users: int = 1_000_000
    embedding_size: int = 64
    communities: int = 30
    candidates: int = 2_000
    bandwidth: float = 0.8
    seed: int = 0


def run(options: CommunitiesBenchOptions) -> dict[str, Any]:
    """Measure, print a table, and return ``{"bench", "commit", "hardware", "metrics"}``.

    The reference is the least that distances cost: the products of all candidates with all users, in blocks.
    Memory is the largest of the whole process, the users included.
    """
    users = _draw_users(options)
    config = CommunityConfig(
        n_communities=options.communities,
        bandwidth=options.bandwidth,
        candidate_share=1.0,
        max_candidates=options.candidates,
        seed=options.seed,
    )
    find_anchors(users[:WARM_UP_USERS], config)
    reference, _ = _timed(lambda: _multiply(users, options))
    seconds, anchors = _timed(lambda: find_anchors(users, config))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts KiB
    statistics = describe(affinities(users[anchors], users, config.bandwidth, config.kernel))
    return report(
        "communities",
        {
            "users": options.n_users,
            "communities": options.communities,
            "discovery_seconds": seconds,
            "reference_seconds": reference,
            "discovery_over_reference": seconds / reference,
            "peak_memory_mib": peak_mib,
            "coverage": statistics.coverage,
            "mean_memberships": statistics.mean_memberships,
        },
    )


def _draw_users(options: CommunitiesBenchOptions) -> Floats:
    rng = np.random.default_rng(options.seed)
    centres = rng.standard_normal((CENTRES, options.embedding_size), dtype=np.float32)
    users = rng.standard_normal((options.n_users, options.embedding_size), dtype=np.float32)
    users += centres[rng.integers(CENTRES, size=options.n_users)]
    return users


def _multiply(users: Floats, options: CommunitiesBenchOptions) -> float:
    candidates = users[: options.candidates]
    blocks = range(0, len(users), BLOCK)
    return max(float((candidates @ users[at : at + BLOCK].T)[0, 0]) for at in blocks)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = perf_counter()
    result = work()
    return perf_counter() - start, result
