"""Answers of a moment ago, for equal requests: kept for a short while, made anew behind the scenes, made once."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from enum import StrEnum
from typing import Any, Generic, TypeVar

from service.gateway.traffic.entries import Entries
from service.gateway.traffic.flights import Flights
from service.periodic import cancel_all

logger = logging.getLogger(__name__)

V = TypeVar("V")
Make = Callable[[], Coroutine[Any, Any, V]]


class CacheOutcome(StrEnum):
    """Where an answer came from."""

    HIT = "hit"
    STALE = "stale"  # served once more, while it is made anew
    MISS = "miss"
    COALESCED = "coalesced"  # made for an equal request at the same time
    OFF = "off"


class AnswerCache(Generic[V]):
    """In this process. Use it inside a running event loop.

    Args:
        entries: what is kept.
        keeps: whether an answer is good enough to be kept.
    """

    def __init__(self, entries: Entries[V], keeps: Callable[[V], bool]) -> None:
        self._entries = entries
        self._keeps = keeps
        self._flights: Flights[V] = Flights()
        self._refreshes: dict[Hashable, asyncio.Task[None]] = {}

    def find(self, key: Hashable, refresh: Make[V]) -> tuple[V, CacheOutcome] | None:
        """An answer that is there already. One that is stale is made anew by ``refresh`` in the background."""
        found = self._entries.get(key)
        if found is None:
            return None
        value, fresh = found
        if fresh:
            return value, CacheOutcome.HIT
        if key not in self._refreshes:
            task = self._refreshes[key] = asyncio.create_task(self._refresh(key, refresh))
            task.add_done_callback(lambda _: self._refreshes.pop(key, None))
        return value, CacheOutcome.STALE

    async def make(self, key: Hashable, make: Make[V]) -> tuple[V, CacheOutcome]:
        """An answer that is made now, and kept."""
        return await self._keep(key, make), CacheOutcome.MISS

    async def share(
        self, key: Hashable, patience_seconds: float, deadline: float, make: Make[V], crowd: object = None
    ) -> tuple[V, CacheOutcome]:
        """The same, made once for all of a ``crowd`` who ask at one time. The rest is :meth:`Flights.join`'s."""
        flight = (key, crowd)
        value, joined = await self._flights.join(flight, patience_seconds, deadline, lambda: self._keep(key, make))
        return value, CacheOutcome.COALESCED if joined else CacheOutcome.MISS

    async def close(self) -> None:
        """Give up what runs in the background."""
        await cancel_all(list(self._refreshes.values()))

    async def _keep(self, key: Hashable, make: Make[V]) -> V:
        value = await make()
        if self._keeps(value):
            self._entries.put(key, value)
        return value

    async def _refresh(self, key: Hashable, make: Make[V]) -> None:
        try:
            await self._keep(key, make)
        except Exception:
            logger.exception("an answer could not be made anew")
