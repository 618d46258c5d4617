"""Users by the beginning of their ids. Redis has no index of them: some of its keys are looked at, not all."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from models.contract.redis_schema import history_key
from service.gateway.store.redis_store import RedisStore

KEYS_AT_ONCE = 1_000
SEARCH_SECONDS = 0.5  # some hundred thousand keys
_SPECIAL = str.maketrans({special: f"\\{special}" for special in "*?[]^-\\"})


@dataclass(frozen=True, slots=True)
class FoundUsers:
    """Ids of users, the shortest first. ``more``: there are others, or not all keys were looked at."""

    user_ids: list[str]
    more: bool


async def find_users(store: RedisStore, prefix: str, limit: int) -> FoundUsers:
    """At most ``limit`` users of whom a history is kept and whose ids begin so; one with this very id is among them.

    Raises:
        StateUnavailableError: Redis did not answer.
    """
    loop = asyncio.get_running_loop()
    until, cursor, found = loop.time() + SEARCH_SECONDS, 0, await _named(store, prefix)
    while True:
        cursor, user_ids = await _look(store, cursor, prefix)
        found.update(user_ids)
        if not cursor or len(found) > limit or loop.time() >= until:
            break
    shortest = sorted(found, key=lambda user_id: (len(user_id), user_id))
    return FoundUsers(shortest[:limit], more=cursor != 0 or len(shortest) > limit)


async def _named(store: RedisStore, user_id: str) -> set[str]:
    exists = await store.ask(lambda redis: cast(Any, redis.exists(history_key(user_id))))
    return {user_id} if user_id and exists else set()


async def _look(store: RedisStore, cursor: int, prefix: str) -> tuple[int, list[str]]:
    """One step of a SCAN: where to go on, 0 at the end, and whose histories were met."""
    before, after = history_key("\n").split("\n")
    pattern = f"{before}{prefix.translate(_SPECIAL)}*{after}"
    cursor, keys = await store.ask(
        lambda redis: cast(Any, redis.scan(cursor, match=pattern, count=KEYS_AT_ONCE, _type="string"))
    )
    names = [key.decode(errors="replace") for key in keys]
    return cursor, [name.removeprefix(before).removesuffix(after) for name in names]
