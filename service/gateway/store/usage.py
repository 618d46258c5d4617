"""How Redis is, asked now and then, so that nobody needs an exporter beside it to see its memory fill."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from service.gateway.store.redis_store import RedisStore
from service.gateway.types import StateUnavailableError

USAGE_INTERVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RedisUsage:
    """What Redis says of itself. The limit is its ``maxmemory``, or its machine's memory where it has none."""

    memory_bytes: int
    memory_limit_bytes: int
    clients: int


class UsageFollower:
    """Asks Redis how it is.

    Args:
        store: where it is.
        usage: told what it said.
        unknown: told that it did not say: it is down, forbids INFO, or says less there, as some services do.
    """

    def __init__(self, store: RedisStore, usage: Callable[[RedisUsage], None], unknown: Callable[[], None]) -> None:
        self._store = store
        self._usage = usage
        self._unknown = unknown

    async def look(self) -> None:
        """Ask once."""
        try:
            memory, clients = await self._store.ask(_info, kind="usage")
            self._usage(usage_of(memory, clients))
        except (StateUnavailableError, KeyError):
            self._unknown()


async def _info(redis: Redis) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    memory = await cast(Any, redis.info("memory"))
    return memory, await cast(Any, redis.info("clients"))


def usage_of(memory: Mapping[str, Any], clients: Mapping[str, Any]) -> RedisUsage:
    """What two sections of INFO say, ``memory`` and ``clients``."""
    limit = int(memory["maxmemory"]) or int(memory["total_system_memory"])
    return RedisUsage(int(memory["used_memory"]), limit, int(clients["connected_clients"]))
