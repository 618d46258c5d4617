"""Dynamic batching: whatever waits when the model is free goes into one batch, whoever's user or adapter it is.

The model runs in one thread of its own. Work that must not meet a running batch (publishing adapters) goes through the
same thread. Everything else here lives on the event loop.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic, perf_counter
from typing import Generic, Protocol, TypeVar

from service.engine.batch_time import BatchTime
from service.engine.errors import DeadlineError, OverloadedError
from service.engine.queue import BatchLimits, Entry, WaitingQueue
from service.engine.timing import wanted

Q = TypeVar("Q")
A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

MAX_ROWS = 8192  # of tokens in a batch: one of long prompts stays below about a second, however many calls are allowed


class BatchObserver(Protocol):
    """Told about every batch that ran."""

    def batch_done(self, size: int, seconds: float) -> None:
        """``size`` queries took ``seconds`` in the model's thread."""
        ...


class Batcher(Generic[Q, A]):
    """Bounded queue in front of a function that answers batches.

    Args:
        run: answers a batch, in its order; called in the model's thread.
        max_batch: queries in one batch at most; a request with more has a batch to itself.
        max_queue: queries that wait at most; more are refused.
        observer: told about every batch.
        clock: tells the time of deadlines, in seconds.
        rows: of tokens that the queries of one request take: what a batch's time depends on.
        max_rows: of one batch at most; a request with more has a batch to itself.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Q]], Sequence[A]],
        max_batch: int,
        max_queue: int,
        observer: BatchObserver,
        clock: Callable[[], float] = monotonic,
        rows: Callable[[Sequence[Q]], int] = len,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._run = run
        self._max_queue = max_queue
        self._observer = observer
        self._clock = clock
        self._rows = rows
        self._time = BatchTime()
        self._queue: WaitingQueue[Q, A] = WaitingQueue(BatchLimits(max_batch, max_rows))
        self._running = False
        self._filled, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._worker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to take batches off the queue."""
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Answer what waits, then end the thread."""
        if self._worker is not None and self.works:
            await self._idle.wait()
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        self._thread.shutdown()

    @property
    def n_queries(self) -> int:
        """Queries that wait."""
        return self._queue.n_queries

    @property
    def works(self) -> bool:
        """Whether batches are taken off the queue."""
        return self._worker is not None and not self._worker.done()

    def submit(
        self, query: Q, deadline: float = float("inf"), left: Callable[[], None] = lambda: None
    ) -> asyncio.Future[A]:
        """Queue one query, see :meth:`submit_all`."""
        return self._submit([query], deadline, lambda answers: answers[0], left)

    def submit_all(
        self, queries: Sequence[Q], deadline: float = float("inf"), left: Callable[[], None] = lambda: None
    ) -> asyncio.Future[Sequence[A]]:
        """Queue queries that are answered together. A future that is done before its batch is formed costs nothing.

        Where the batch could not end before ``deadline``, an instant of the clock, the future raises DeadlineError.
        Raises OverloadedError where the queue is full.

        ``left`` is called once, when the queries are out of the queue and of the model: after their batch, though the
        future may have been done long before, or when they are refused or dropped.
        """
        return self._submit(queries, deadline, lambda answers: answers, left)

    async def between_batches(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the model's thread while no batch runs."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _submit(
        self, queries: Sequence[Q], deadline: float, result: Callable[[Sequence[A]], R], left: Callable[[], None]
    ) -> "asyncio.Future[R]":
        if self.n_queries + len(queries) > self._max_queue:
            self._queue.forget()
        if self.n_queries + len(queries) > self._max_queue:
            left()
            raise OverloadedError(f"the queue is full: {self.n_queries} calls of {len(self)} requests wait")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        finds_idle = not self._running and not self._queue
        timing = wanted.get()
        if timing is not None:
            timing.queued = perf_counter()
        self._queue.append(Entry(queries, self._rows(queries), future, deadline, finds_idle, result, left, timing))
        self._filled.set()
        self._idle.clear()
        return future

    async def _work(self) -> None:
        while True:
            await self._filled.wait()
            entries = self._take()
            if entries:
                await self._run_batch(entries)
            if not self._queue:
                self._filled.clear()
                self._idle.set()

    def _take(self) -> list[Entry[Q, A]]:
        """The next batch. What cannot make its deadline is told so."""
        now = self._clock()
        taken, late = self._queue.take(now, self._time.expected)
        for entry in late:
            entry.future.set_exception(DeadlineError("the deadline is nearer than the answer"))
            entry.left()
        if not taken and any(now < entry.deadline for entry in late):
            self._time.doubt()
        return taken

    async def _run_batch(self, entries: Sequence[Entry[Q, A]]) -> None:
        self._running = True
        await self._answer(entries)
        self._running = False
        for entry in entries:
            entry.left()

    async def _answer(self, entries: Sequence[Entry[Q, A]]) -> None:
        try:
            answers = await self.between_batches(lambda: self._timed(entries))
        except Exception as exc:
            for entry in entries:
                if not entry.future.done():
                    entry.future.set_exception(exc)
            return
        start = 0
        for entry in entries:
            end = start + len(entry.queries)
            if not entry.future.done():
                entry.future.set_result(entry.result(answers[start:end]))
            start = end

    def _timed(self, entries: Sequence[Entry[Q, A]]) -> Sequence[A]:
        queries = [query for entry in entries for query in entry.queries]
        started, began = self._clock(), perf_counter()
        try:
            return self._run(queries)
        finally:
            seconds = self._clock() - started
            for timing in filter(None, (entry.timing for entry in entries)):
                timing.started, timing.ended = began, perf_counter()
            self._time.observe(sum(entry.rows for entry in entries), seconds)
            self._observer.batch_done(len(queries), seconds)
