"""Publishing a bundle: users' profiles into Redis. The pointer moves afterwards (``models.pointer``).

Histories and seen sets do not belong to a bundle. A history is replaced where the published one reaches further
in time, and kept where live events have gone on since; what was seen is added to what is there.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import polars as pl
from redis import Redis

from models.contract.bundle import PROFILES, Bundle
from models.contract.redis_schema import (
    FormatError,
    decode_events,
    decode_seen,
    history_key,
    profile_key,
    seen_key,
)
from models.pointer import mark_published

PIPELINE_USERS = 1_000  # users written per round trip

# Sets KEYS[1] to ARGV[2] unless somebody has changed it since it was read as ARGV[1].
_REPLACE = "if (redis.call('GET', KEYS[1]) or '') == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end"

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
    ids = part["user_id"].to_list()
    histories = cast("list[bytes | None]", redis.mget([history_key(user_id) for user_id in ids]))
    seen_sets = cast("list[bytes | None]", redis.mget([seen_key(user_id) for user_id in ids]))
    pipe: Any = redis.pipeline(transaction=False)
    for (user_id, profile, history, seen), old_history, old_seen in zip(
        part.iter_rows(), histories, seen_sets, strict=True
    ):
        pipe.set(profile_key(user_id, bundle_id), profile)
        if old_history is None or _last_time(history) > _last_time(old_history):
            pipe.eval(_REPLACE, 1, history_key(user_id), old_history or b"", history)
        if added := _unseen(seen, old_seen or b""):
            pipe.append(seen_key(user_id), added)
    pipe.execute()


def _last_time(history: bytes) -> int:
    """Time of the last event; -1 for no event, or for a value that cannot be read and may be replaced."""
    try:
        events = decode_events(history)
    except FormatError:
        return -1
    return events[-1].timestamp if events else -1


def _unseen(published: bytes, stored: bytes) -> bytes:
    """The published item hashes that are not stored yet."""
    hashes = decode_seen(published)
    return hashes[~np.isin(hashes, decode_seen(stored[: len(stored) // 8 * 8]))].tobytes()
