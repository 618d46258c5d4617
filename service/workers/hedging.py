"""Asking a second time where the first answer is late: the tail at scale (Dean and Barroso, 2013)."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

HEDGED_QUANTILE = 0.95
HEDGED_SHARE = 0.05
GAIN = 0.05  # how far one observation moves the estimate, at most


class LatencyQuantile:
    """A quantile of a stream, by steps that weigh up where it is right (Robbins and Monro, 1951).

    Args:
        quantile: between 0 and 1.
        start_seconds: the estimate before the first observation.
    """

    def __init__(self, quantile: float = HEDGED_QUANTILE, start_seconds: float = 0.05) -> None:
        self._quantile = quantile
        self.seconds = start_seconds

    def observe(self, seconds: float) -> None:
        """One more length."""
        above = seconds > self.seconds
        self.seconds *= 1 + GAIN * (self._quantile if above else self._quantile - 1)

    def observe_at_least(self, seconds: float) -> None:
        """One more, that was cancelled after so long: it says something where that was too long already.

        Were those left out that lost, only quick ones would be seen: more and more calls would pass for late.
        """
        if seconds > self.seconds:
            self.observe(seconds)


class HedgeBudget:
    """At most a share of the calls is made twice: where all are late, a second load helps nobody.

    Args:
        share: of all calls; what is not used is kept for later, up to ``most_saved`` calls.
    """

    def __init__(self, share: float = HEDGED_SHARE, most_saved: float = 10.0) -> None:
        self._share = share
        self._most_saved = most_saved
        self._saved = 0.0

    def earn(self) -> None:
        """One more call is made."""
        self._saved = min(self._saved + self._share, self._most_saved)

    def spend(self) -> bool:
        """Whether one may be made a second time; if so, it counts as made."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True


async def hedged(
    first: Coroutine[Any, Any, T],
    second: Callable[[], Coroutine[Any, Any, T] | None],
    after_seconds: float,
    is_good: Callable[[T], bool],
) -> T:
    """The first good answer; where none is, the first call's. The other call is cancelled, both are awaited.

    Args:
        first: the call.
        second: makes the second call, or says None where nobody can take it; asked after ``after_seconds``.
        after_seconds: how long the first call is waited for alone.
        is_good: whether an answer ends the wait for the other.
    """
    tasks = [asyncio.create_task(first)]
    try:
        await asyncio.wait(tasks, timeout=after_seconds)
        if not tasks[0].done() and (call := second()) is not None:
            tasks.append(asyncio.create_task(call))
        return await _first_good(tasks, is_good)
    finally:
        await _end(tasks)


async def _first_good(tasks: "list[asyncio.Task[T]]", is_good: Callable[[T], bool]) -> T:
    for finished in asyncio.as_completed(tasks):
        answer = await finished
        if is_good(answer):
            return answer
    return tasks[0].result()


async def _end(tasks: "list[asyncio.Task[T]]") -> None:
    running: list[Awaitable[T]] = [task for task in tasks if not task.done()]
    for task in tasks:
        task.cancel()
    if running:
        await asyncio.gather(*running, return_exceptions=True)
