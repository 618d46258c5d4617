"""Requests that wait for the model, and which of them make the next batch."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True)
class Entry(Generic[Q, A]):
    """Queries of one request, which are answered together, and what its future is told.

    Args:
        queries: at least one.
        future: done before its batch is formed: nobody wants the answer.
        deadline: instant when the answer is too late.
        finds_idle: it came when nothing waited and nothing ran: no estimate drops it.
        result: answers of the queries to what the future is told.
    """

    queries: Sequence[Q]
    future: asyncio.Future[Any]
    deadline: float
    finds_idle: bool
    result: Callable[[Sequence[A]], Any]


@dataclass(frozen=True)
class BatchLimits:
    """What a batch holds at most: ``queries``. A request with more has a batch to itself."""

    queries: int


class WaitingQueue(Generic[Q, A]):
    """First come, first served, as far as deadlines allow."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._entries: deque[Entry[Q, A]] = deque()
        self.n_queries = 0

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._entries)

    def append(self, entry: Entry[Q, A]) -> None:
        """Add a request at the end."""
        self._entries.append(entry)
        self.n_queries += len(entry.queries)

    def take(self, now: float, expected: Callable[[int], float]) -> tuple[list[Entry[Q, A]], list[Entry[Q, A]]]:
        """The next batch, and what is too late for it; both leave the queue, and so does what nobody wants.

        A batch ends for all its queries at once. Where more wait than fit into one, the next is a full one, and what is
        due before it ends is late: small batches for the hurried would cost the others more than they save. Where all
        would fit, a batch takes no more than its nearest deadline allows.

        Args:
            now: the time.
            expected: seconds that a batch of so many queries takes.
        """
        taken: list[Entry[Q, A]] = []
        late: list[Entry[Q, A]] = []
        least = self._limits.queries if self.n_queries > self._limits.queries else 0
        size, nearest = 0, inf
        while self._entries:
            entry = self._entries[0]
            grown = size + len(entry.queries)
            end = now + expected(max(grown, least))
            if not entry.future.done() and taken and (grown > self._limits.queries or end > nearest):
                break
            self._pop()
            if entry.future.done():
                continue
            if now >= entry.deadline or (end > entry.deadline and not entry.finds_idle):
                late.append(entry)
                continue
            taken.append(entry)
            size, nearest = grown, min(nearest, entry.deadline)
        return taken, late

    def _pop(self) -> None:
        self.n_queries -= len(self._entries.popleft().queries)
