"""What is held of a user, to be shown and to be deleted."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from models.contract.redis_schema import (
    DELETED_USERS,
    EVENTS,
    EXPOSURES,
    HELD_BUNDLES,
    PUBLISHED_BUNDLES,
    SHOWN,
    event_ids_key,
    history_key,
    profile_key,
    seen_key,
    shown_key,
    user_hash,
)
from service.gateway.store.erasure import erase
from service.gateway.store.redis_store import RedisStore
from service.gateway.types import StoredUser

WRITING_SECONDS = 0.1  # ten times what gateways keep lists for before they write them

_PARTS: Mapping[str, Callable[[str], str]] = {
    "history": history_key,
    "seen": seen_key,
    "event_ids": event_ids_key,
    "shown": shown_key,
}


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of a user beside the streams.

    Args:
        stored: what lists are made of, for the bundle that was asked for.
        sizes: bytes of the value of each key that there is.
        event_ids: how many of the last events' ids are kept.
        shown: how many showings of items are kept.
    """

    stored: StoredUser
    sizes: Mapping[str, int]
    event_ids: int
    shown: int


class UserStore:
    """Reads and deletes all that is held of a user.

    Args:
        store: where it lies.
        deadline_seconds: of a usual request.
    """

    def __init__(self, store: RedisStore, deadline_seconds: float) -> None:
        self._store = store
        self._settle_seconds = deadline_seconds + WRITING_SECONDS

    async def held(self, user_id: str, bundle_id: str) -> Held:
        """What there is. Raises StateUnavailableError."""
        profiles = await self._profile_keys(user_id)
        keys = [*profiles, *(key(user_id) for key in _PARTS.values())]

        async def read(redis: Redis) -> tuple[list[bytes | None], list[int]]:
            pipeline: Any = redis.pipeline(transaction=False)
            pipeline.mget(profile_key(user_id, bundle_id), history_key(user_id), seen_key(user_id))
            for key in keys:
                pipeline.strlen(key)
            values, *lengths = await pipeline.execute()
            return values, lengths

        values, lengths = await self._store.ask(read, kind="users")
        sizes = {key: length for key, length in zip(keys, lengths, strict=True) if length}
        return Held(
            stored=StoredUser(*values),
            sizes=sizes,
            event_ids=sizes.get(event_ids_key(user_id), 0) // 8,
            shown=sizes.get(shown_key(user_id), 0) // SHOWN.itemsize,
        )

    async def delete(self, user_id: str, now: float) -> dict[str, int]:
        """Delete all of it, and see to it that no bundle made before brings it back. May be repeated.

        The tombstone comes first: whoever publishes meanwhile finds it. Then the user's values go, and a moment passes,
        in which gateways serve and record the lists that they were making of them. Some may come later: of requests
        with a longer deadline than is usual, batches among them, or where Redis is slow.

        Args:
            user_id: of whom.
            now: seconds since 1970.

        Returns:
            How many keys of each kind, and how many records of each stream were deleted.

        Raises:
            StateUnavailableError: Redis did not answer, or not in time; a part may be left.
        """
        tombstone = {user_hash(user_id): int(now)}
        await self._store.ask(
            lambda redis: cast(Any, redis.hset(DELETED_USERS, mapping=cast(Any, tombstone))), kind="users"
        )
        deleted = await self._unlink(user_id)
        await asyncio.sleep(self._settle_seconds)
        deleted.update(await self._unlink(user_id))
        return dict(deleted) | {
            "exposures": await erase(self._store, EXPOSURES, user_id),
            "events": await erase(self._store, EVENTS, user_id),
        }

    async def among_deleted(self, user_ids: Sequence[str]) -> frozenset[str]:
        """Those who asked to be deleted, whether or not they came back. Raises StateUnavailableError."""
        if not user_ids:
            return frozenset()
        hashes = [user_hash(user_id) for user_id in user_ids]
        times = await self._store.ask(lambda redis: cast(Any, redis.hmget(DELETED_USERS, hashes)), kind="users")
        return frozenset(user_id for user_id, time in zip(user_ids, times, strict=True) if time is not None)

    async def _unlink(self, user_id: str) -> Counter[str]:
        profiles = [("profiles", key) for key in await self._profile_keys(user_id)]
        keys = [*profiles, *((part, key(user_id)) for part, key in _PARTS.items())]

        async def unlink(redis: Redis) -> list[int]:
            pipeline: Any = redis.pipeline(transaction=False)
            for _, key in keys:
                pipeline.unlink(key)
            return cast("list[int]", await pipeline.execute())

        counts = Counter(dict.fromkeys(("profiles", *_PARTS), 0))
        for (part, _), count in zip(keys, await self._store.ask(unlink, kind="users"), strict=True):
            counts[part] += count
        return counts

    async def _profile_keys(self, user_id: str) -> list[str]:
        bundles = await self._store.ask(
            lambda redis: cast(Any, redis.sunion([PUBLISHED_BUNDLES, HELD_BUNDLES])), kind="users"
        )
        return [profile_key(user_id, bundle.decode(errors="replace")) for bundle in sorted(bundles)]
