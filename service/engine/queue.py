"""Requests that wait for the model, and which of them make the next batch."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

from service.engine.timing import Timing

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True)
class Entry(Generic[Q, A]):
    """Queries of one request, which are answered together, and what its future is told.

    Args:
        queries: at least one.
        rows: of tokens that they take.
        future: done before its batch is formed: nobody wants the answer.
        deadline: instant when the answer is too late.
        finds_idle: it came when nothing waited and nothing ran: no estimate drops it.
        result: answers of the queries to what the future is told.
        left: called once, when the queries are out of the queue and of the model.
        timing: takes note of when; None: nobody wants to know.
    """

    queries: Sequence[Q]
    rows: int
    future: asyncio.Future[Any]
    deadline: float
    finds_idle: bool
    result: Callable[[Sequence[A]], Any]
    left: Callable[[], None]
    timing: Timing | None = None


@dataclass(frozen=True)
class BatchLimits:
    """What a batch holds at most: ``queries``, and ``rows`` of tokens. A request with more has a batch to itself."""

    queries: int
    rows: int


class WaitingQueue(Generic[Q, A]):
    """First come, first served, as far as deadlines allow."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._entries: deque[Entry[Q, A]] = deque()
        self.n_queries = 0
        self._n_rows = 0

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._entries)

    def append(self, entry: Entry[Q, A]) -> None:
        """Add a request at the end."""
        self._entries.append(entry)
        self.n_queries += len(entry.queries)
        self._n_rows += entry.rows

    def forget(self) -> None:
        """Let go of what nobody wants any more."""
        for _ in range(len(self._entries)):
            entry = self._pop()
            if entry.future.done():
                entry.left()
            else:
                self.append(entry)

    def take(self, now: float, expected: Callable[[int], float]) -> tuple[list[Entry[Q, A]], list[Entry[Q, A]]]:
        """The next batch, and what is too late for it; both leave the queue, and so does what nobody wants.

        A batch ends for all its queries at once. Where more wait than fit into one, the next is a full one, and what is
        due before it ends is late: small batches for the hurried would cost the others more than they save. Where all
        would fit, a batch takes no more than its nearest deadline allows.

        Args:
            now: the time.
            expected: seconds that a batch of so many rows takes.
        """
        taken: list[Entry[Q, A]] = []
        late: list[Entry[Q, A]] = []
        least, queries, rows, nearest = self._full_rows(), 0, 0, inf
        while self._entries:
            entry = self._entries[0]
            end = now + expected(max(rows + entry.rows, least))
            if not entry.future.done() and taken and (end > nearest or not self._fits(entry, queries, rows)):
                break
            self._pop()
            if entry.future.done():
                entry.left()
                continue
            if now >= entry.deadline or (end > entry.deadline and not entry.finds_idle):
                late.append(entry)
                continue
            taken.append(entry)
            queries, rows, nearest = queries + len(entry.queries), rows + entry.rows, min(nearest, entry.deadline)
        return taken, late

    def _full_rows(self) -> int:
        """Rows of a full batch of what waits; 0 where less waits."""
        queries, rows = self._limits.queries, self._limits.rows
        if self.n_queries <= queries and self._n_rows <= rows:
            return 0
        return min(self._n_rows * queries // self.n_queries, rows)

    def _fits(self, entry: Entry[Q, A], queries: int, rows: int) -> bool:
        return queries + len(entry.queries) <= self._limits.queries and rows + entry.rows <= self._limits.rows

    def _pop(self) -> Entry[Q, A]:
        entry = self._entries.popleft()
        self.n_queries -= len(entry.queries)
        self._n_rows -= entry.rows
        return entry
