"""What operators change in Redis: the pointer to the current bundle, and the hidden items."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from models.contract.pointer import Command, activation
from models.contract.redis_schema import (
    CURRENT_BUNDLE,
    HIDDEN_ITEMS,
    HIDDEN_VERSION,
    PREVIOUS_BUNDLE,
    PUBLISHED_BUNDLES,
)
from service.gateway.store.redis_store import RedisStore


@dataclass(frozen=True, slots=True)
class Pointers:
    """Which bundles there are, which one should be served, and which one before."""

    published: frozenset[str]
    current: str | None
    previous: str | None


class Operations:
    """Reads and changes what operators decide. Every method raises StateUnavailableError."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def pointers(self) -> Pointers:
        """The bundles as they stand."""

        async def read(redis: Redis) -> Sequence[Any]:
            pipe = redis.pipeline(transaction=True)
            _queue(pipe, [("SMEMBERS", PUBLISHED_BUNDLES), ("GET", CURRENT_BUNDLE), ("GET", PREVIOUS_BUNDLE)])
            return await pipe.execute()

        published, current, previous = await self._store.ask(read)
        return Pointers(frozenset(map(_text, published)), _optional(current), _optional(previous))

    async def activate(self, bundle_id: str) -> None:
        """Make a bundle current; ``models.pointer.activate``. Whether it can be served is for the caller to know."""

        async def move(pipe: Pipeline) -> None:
            current = _optional(await cast("Awaitable[bytes | None]", pipe.get(CURRENT_BUNDLE)))
            cast(Any, pipe).multi()
            _queue(pipe, activation(bundle_id, current))

        # Watched: of two operators at once, the second one sees what the first one did.
        await self._store.ask(lambda redis: redis.transaction(cast("Callable[..., Any]", move), CURRENT_BUNDLE))

    async def hidden_version(self) -> int:
        """Changes with the hidden items."""
        return int(await self._store.ask(lambda redis: cast(Any, redis.get(HIDDEN_VERSION))) or 0)

    async def hidden(self) -> frozenset[str]:
        """Ids of the items that are in no list."""
        return frozenset(map(_text, await self._store.ask(lambda redis: cast(Any, redis.smembers(HIDDEN_ITEMS)))))

    async def hide(self, item_ids: Sequence[str]) -> None:
        """Take items out of every list from now on, whether or not a bundle knows them."""
        await self._change_hidden("SADD", item_ids)

    async def show(self, item_ids: Sequence[str]) -> None:
        """Undo :meth:`hide`."""
        await self._change_hidden("SREM", item_ids)

    async def _change_hidden(self, command: str, item_ids: Sequence[str]) -> None:
        if item_ids:
            await self._change([(command, HIDDEN_ITEMS, *item_ids), ("INCR", HIDDEN_VERSION)])

    async def _change(self, commands: Sequence[Command]) -> None:
        async def execute(redis: Redis) -> None:
            pipe = redis.pipeline(transaction=True)
            _queue(pipe, commands)
            await pipe.execute()

        await self._store.ask(execute)


def _queue(pipe: Pipeline, commands: Sequence[Command]) -> None:
    for command in commands:
        cast(Any, pipe).execute_command(*command)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _optional(value: bytes | None) -> str | None:
    return None if value is None else _text(value)
