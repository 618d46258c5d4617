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
    DELETED_USERS,
    FormatError,
    decode_events,
    decode_seen,
    history_key,
    profile_key,
    seen_key,
    user_hash,
)
from models.pointer import mark_held, mark_published

PIPELINE_USERS = 1_000  # users written per round trip

# One user: skipped where deleted since what the bundle knows; else the profile, the history unless somebody has changed
# it since it was read, and what is to be added to the seen set.
# KEYS: profile, history, seen set, deleted users. ARGV: the user's hash, of when that is what is known, the profile,
# the history as read, the one to be written or nothing, the hashes to be added.
_WRITE = """
local deleted = redis.call('HGET', KEYS[4], ARGV[1])
if deleted and tonumber(deleted) >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
if ARGV[5] ~= '' and (redis.call('GET', KEYS[2]) or '') == ARGV[4] then redis.call('SET', KEYS[2], ARGV[5]) end
if ARGV[6] ~= '' then
  local askew = redis.call('STRLEN', KEYS[3]) % 8
  if askew > 0 then redis.call('SET', KEYS[3], string.sub(redis.call('GET', KEYS[3]), 1, -askew - 1)) end
  redis.call('APPEND', KEYS[3], ARGV[6])
end
return 1
"""

Progress = Callable[[Iterable[pl.DataFrame], int], Iterable[pl.DataFrame]]


def publish(bundle: Bundle, redis: Redis, progress: Progress | None = None) -> int:
    """Write the profiles of a bundle and mark it as published. Returns the number of users.

    Users who were deleted after their last event, or after the bundle was made, are left out: a bundle that is made
    after a deletion may come of data that were read before.

    Args:
        bundle: a verified bundle.
        redis: where to.
        progress: wraps the loop over slices of users; gets the number of slices.
    """
    slices = list(pl.read_parquet(bundle.path(PROFILES)).iter_slices(PIPELINE_USERS))
    mark_held(bundle.id, redis)
    written = 0
    for part in slices if progress is None else progress(slices, len(slices)):
        written += _write(part, bundle, redis)
    mark_published(bundle.id, redis)
    return written


def _write(part: pl.DataFrame, bundle: Bundle, redis: Redis) -> int:
    ids = part["user_id"].to_list()
    histories = cast("list[bytes | None]", redis.mget([history_key(user_id) for user_id in ids]))
    seen_sets = cast("list[bytes | None]", redis.mget([seen_key(user_id) for user_id in ids]))
    pipe: Any = redis.pipeline(transaction=False)
    write = redis.register_script(_WRITE)
    for (user_id, profile, history, seen), old_history, old_seen in zip(
        part.iter_rows(), histories, seen_sets, strict=True
    ):
        keys = [profile_key(user_id, bundle.id), history_key(user_id), seen_key(user_id), DELETED_USERS]
        last = _last_time(history)
        known = min(last, bundle.created_seconds) if last > 0 else bundle.created_seconds
        reaches_further = old_history is None or last > _last_time(old_history)
        replacing = (old_history or b"", history if reaches_further else b"")
        added = _unseen(seen, old_seen or b"")
        write(keys, [user_hash(user_id), known, profile, *replacing, added], client=pipe)
    return sum(pipe.execute())


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
