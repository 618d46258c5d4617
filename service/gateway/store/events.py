"""What users do, written to Redis: history, seen set and stream of each user at once, and no event twice."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from models.contract.records import EventType
from service.gateway.store.event_script import DIGEST, SCRIPT, NewEvent, arguments, keys_of
from service.gateway.store.redis_store import RedisStore
from service.gateway.store.settings import EventSettings

_Call = tuple[list[str], list[bytes | int]]  # keys and arguments of the script


class EventLog:
    """Appends events.

    Args:
        store: where users' state lies.
        settings: what an event changes, and how much is kept.
        count: told of each event's end, ``accepted``, ``duplicate`` or ``failed``, by its type.
    """

    def __init__(self, store: RedisStore, settings: EventSettings, count: Callable[[EventType, str], None]) -> None:
        self._store = store
        self._settings = settings
        self._count = count

    async def append(self, events: Sequence[NewEvent]) -> list[bool]:
        """Write events of any users, in one round trip. Returns for each whether it is new.

        Each user's events are written together or not at all; the next request of the user knows them. Where the call
        fails, some users' may have been written: sent again with the same ids, they are not written twice.

        Raises:
            StateUnavailableError: Redis did not answer, or not in time.
        """
        rows: dict[str, list[int]] = {}
        for row, new in enumerate(events):
            rows.setdefault(new.event.user_id, []).append(row)
        calls = [(keys_of(user), arguments([events[row] for row in own], self._settings)) for user, own in rows.items()]
        outcomes = dict.fromkeys(range(len(events)), "failed")
        try:
            answers = await self._store.ask(lambda redis: _call(redis, calls), kind="events")
            for own, answer in zip(rows.values(), answers, strict=True):
                outcomes |= zip(own, ("accepted" if is_new else "duplicate" for is_new in answer), strict=True)
        finally:
            for new, outcome in zip(events, outcomes.values(), strict=True):
                self._count(new.event.type, outcome)
        return [outcome == "accepted" for outcome in outcomes.values()]


async def _call(redis: Redis, calls: Sequence[_Call]) -> list[list[int]]:
    """Run the script for each user. A Redis that was restarted has forgotten it, and has then written nothing."""
    try:
        return await _call_by_digest(redis, calls)
    except NoScriptError:
        await redis.script_load(SCRIPT)
        return await _call_by_digest(redis, calls)


async def _call_by_digest(redis: Redis, calls: Sequence[_Call]) -> list[list[int]]:
    pipeline: Any = redis.pipeline(transaction=False)
    for keys, values in calls:
        pipeline.evalsha(DIGEST, len(keys), *keys, *values)
    return cast("list[list[int]]", await pipeline.execute())
