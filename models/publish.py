"""Publishing a bundle: users' profiles into Redis. The pointer moves afterwards (``models.pointer``).

Histories and seen sets do not belong to a bundle: they are written where a user has none yet, and never over what live
events have added.
"""

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl
from redis import Redis

from models.contract.bundle import PROFILES, Bundle
from models.contract.redis_schema import history_key, profile_key, seen_key
from models.pointer import mark_published

PIPELINE_USERS = 1_000  # users written per round trip

Progress = Callable[[Iterable[pl.DataFrame], int], Iterable[pl.DataFrame]]


def publish(bundle: Bundle, redis: Redis, progress: Progress | None = None) -> int:
    """Write all profiles of a bundle and mark it as published. Returns the number of users.

    Args:
        bundle: a verified bundle.
        redis: where to.
        progress: wraps the loop over slices of users; gets the number of slices.
    """
    users = pl.read_parquet(bundle.path(PROFILES))
    slices = list(users.iter_slices(PIPELINE_USERS))
    for part in slices if progress is None else progress(slices, len(slices)):
        _write(part, bundle.id, redis)
    mark_published(bundle.id, redis)
    return len(users)


def _write(part: pl.DataFrame, bundle_id: str, redis: Redis) -> None:
    pipe: Any = redis.pipeline(transaction=False)
    for user_id, profile, history, seen in part.iter_rows():
        pipe.set(profile_key(user_id, bundle_id), profile)
        pipe.set(history_key(user_id), history, nx=True)
        pipe.set(seen_key(user_id), seen, nx=True)
    pipe.execute()
