"""Equal computations that run at one time are one computation."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

V = TypeVar("V")


@dataclass(slots=True, eq=False)
class Flight(Generic[V]):
    """A computation, how long it may take, and how many wait for it."""

    task: "asyncio.Task[V]"
    patience_seconds: float
    waiting: int = 0


class Flights(Generic[V]):
    """The computations that run now. Each is a task of its own: it belongs to all who wait, and ends with the last."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[V]] = {}

    async def join(
        self,
        key: Hashable,
        patience_seconds: float,
        deadline: float,
        make: Callable[[], Coroutine[Any, Any, V]],
    ) -> tuple[V, bool]:
        """The result of ``make``, or of an equal computation under way; and whether it was under way.

        Args:
            key: equal for equal computations.
            patience_seconds: length of the caller's deadline; what was started by a less patient one is not joined.
            deadline: instant on the loop's clock at which a caller that joined gives up.
            make: ends by the deadline by itself.

        Raises:
            TimeoutError: the deadline of one that joined came first.
        """
        flight = self._flights.get(key)
        joined = flight is not None and flight.patience_seconds >= patience_seconds
        if flight is None or not joined:
            flight = self._start(key, patience_seconds, make)
        flight.waiting += 1
        try:
            async with asyncio.timeout_at(deadline if joined else None):
                return await asyncio.shield(flight.task), joined
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                flight.task.cancel()
                self._forget(key, flight)  # nobody may join what is being cancelled

    def _start(self, key: Hashable, patience_seconds: float, make: Callable[[], Coroutine[Any, Any, V]]) -> Flight[V]:
        flight = self._flights[key] = Flight(asyncio.create_task(make()), patience_seconds)
        flight.task.add_done_callback(lambda _: self._forget(key, flight))
        return flight

    def _forget(self, key: Hashable, flight: Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
