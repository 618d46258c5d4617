"""Publishing a bundle: users' profiles into Redis, then the pointer; and moving the pointer by itself.

The pointer moves last, so whoever follows it finds everything in place. Histories and seen sets do not belong to a
bundle: they are written where a user has none yet, and never over what live events have added.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

import polars as pl
from redis import Redis

from models.contract.bundle import Bundle
from models.contract.errors import BundleError
from models.contract.redis_schema import (
    BUNDLE_CHANNEL,
    CURRENT_BUNDLE,
    PREVIOUS_BUNDLE,
    PUBLISHED_BUNDLES,
    history_key,
    profile_key,
    seen_key,
)
from models.export import PROFILES

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
    redis.sadd(PUBLISHED_BUNDLES, bundle.id)
    return len(users)


def activate(bundle_id: str, redis: Redis) -> None:
    """Make a published bundle the current one. Raises BundleError where it was not published."""
    if not redis.sismember(PUBLISHED_BUNDLES, bundle_id):
        known = ", ".join(sorted(bundles(redis))) or "none"
        raise BundleError(f"{bundle_id}: is not published; published are: {known}")
    current = current_bundle(redis)
    with redis.pipeline(transaction=True) as pipe:
        if current is not None and current != bundle_id:
            pipe.set(PREVIOUS_BUNDLE, current)
        pipe.set(CURRENT_BUNDLE, bundle_id)
        pipe.publish(BUNDLE_CHANNEL, bundle_id)
        pipe.execute()


def rollback(redis: Redis) -> str:
    """Make the bundle before the current one current again, and return its id. Raises BundleError without one."""
    previous = cast("bytes | None", redis.get(PREVIOUS_BUNDLE))
    if previous is None:
        raise BundleError("no bundle was current before this one")
    activate(previous.decode(), redis)
    return previous.decode()


def current_bundle(redis: Redis) -> str | None:
    """Id of the current bundle."""
    value = cast("bytes | None", redis.get(CURRENT_BUNDLE))
    return None if value is None else value.decode()


def bundles(redis: Redis) -> set[str]:
    """Ids of all published bundles."""
    return {value.decode() for value in cast("set[bytes]", redis.smembers(PUBLISHED_BUNDLES))}


def _write(part: pl.DataFrame, bundle_id: str, redis: Redis) -> None:
    pipe: Any = redis.pipeline(transaction=False)
    for user_id, profile, history, seen in part.iter_rows():
        pipe.set(profile_key(user_id, bundle_id), profile)
        pipe.set(history_key(user_id), history, nx=True)
        pipe.set(seen_key(user_id), seen, nx=True)
    pipe.execute()
