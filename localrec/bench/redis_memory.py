"""``localrec bench redis``: memory that a user takes in Redis, measured on a real server with synthetic users."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from localrec.bench.report import report
from localrec.redis_server import redis_server
from models.contract.redis_schema import (
    encode_events,
    encode_profile,
    encode_seen,
    history_digest,
    history_key,
    profile_key,
    seen_key,
)
from models.contract.types import HistoryEvent, ItemId, Membership, Profile

SLICE = 1_000  # users written per round trip
BUNDLE_ID = "beauty-0123456789"


@dataclass(frozen=True)
class RedisBenchOptions:
    """What is written: users with ``embedding_size`` dimensions, in ``communities``, with ``events`` each."""

    n_users: int = 50_000
    embedding_size: int = 128
    communities: int = 9
    events: int = 9  # the mean of Amazon Beauty
    seed: int = 0


def run(options: RedisBenchOptions) -> dict[str, Any]:
    """Measure, print a table, and return ``{"bench", "commit", "hardware", "metrics"}``."""
    rng = np.random.default_rng(options.seed)
    with (
        tempfile.TemporaryDirectory(prefix="lr-") as directory,
        redis_server(Path(directory)) as url,
        Redis.from_url(url) as redis,
    ):
        before = _used_bytes(redis)
        for start in range(0, options.n_users, SLICE):
            rows = range(start, min(start + SLICE, options.n_users))
            redis.mset({key: value for row in rows for key, value in _user(row, options, rng).items()})
        per_user = (_used_bytes(redis) - before) / options.n_users
    return report("redis", {"bytes_per_user": per_user, "gb_per_million_users": per_user * 1e6 / 1e9})


def _user(row: int, options: RedisBenchOptions, rng: np.random.Generator) -> dict[str, bytes]:
    """One user with ids as long as Amazon's: 14 characters for a user, 10 for an item."""
    user_id = f"A{row:013d}"
    items = [ItemId(f"B{number:09d}") for number in rng.integers(10**9, size=options.events)]
    history = encode_events([HistoryEvent(item, 1_400_000_000) for item in items])
    members = tuple(Membership(number, 0.5) for number in range(options.communities))
    embedding = rng.standard_normal(options.embedding_size).astype(np.float32)
    profile = Profile(embedding, members, history_digest(history))
    return {
        profile_key(user_id, BUNDLE_ID): encode_profile(profile),
        history_key(user_id): history,
        seen_key(user_id): encode_seen(items),
    }


def _used_bytes(redis: Redis) -> int:
    return int(redis.info("memory")["used_memory"])
