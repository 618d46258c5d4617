"""Dynamic batching: whatever waits when the model is free goes into one batch, whoever's user or adapter it is.

The model runs in one thread of its own. Work that must not meet a running batch (changing adapters) goes through the
same thread. Everything else here lives on the event loop.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from service.engine.errors import OverloadedError

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")


class BatchObserver(Protocol):
    """Told about every batch that ran."""

    def batch_done(self, size: int, seconds: float) -> None:
        """``seconds`` is the time in the model's thread."""
        ...


class Batcher(Generic[Q, A]):
    """Bounded queue in front of a function that answers batches.

    Args:
        run: answers a batch, in its order; called in the model's thread.
        max_batch: queries in one batch at most.
        max_queue: queries that wait at most; more are refused.
        observer: told about every batch.
    """

    def __init__(
        self, run: Callable[[Sequence[Q]], Sequence[A]], max_batch: int, max_queue: int, observer: BatchObserver
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._observer = observer
        self._queue: asyncio.Queue[tuple[Q, asyncio.Future[A]]] = asyncio.Queue(max_queue)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._worker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Queries that wait."""
        return self._queue.qsize()

    def start(self) -> None:
        """Begin to take batches off the queue."""
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Answer what waits, then end the thread."""
        if self._worker is not None:
            await self._queue.join()
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        self._thread.shutdown()

    def submit(self, query: Q) -> asyncio.Future[A]:
        """Queue a query. A future that is done before its batch is formed costs nothing. Raises OverloadedError."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((query, future))
        except asyncio.QueueFull as exc:
            raise OverloadedError(f"the queue is full: {self._queue.maxsize} requests wait") from exc
        return future

    async def between_batches(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the model's thread while no batch runs."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _work(self) -> None:
        while True:
            entries = [await self._queue.get()]
            while not self._queue.empty() and len(entries) < self._max_batch:
                entries.append(self._queue.get_nowait())
            wanted = [(query, future) for query, future in entries if not future.done()]
            if wanted:
                await self._answer([query for query, _ in wanted], [future for _, future in wanted])
            for _ in entries:
                self._queue.task_done()

    async def _answer(self, queries: list[Q], futures: list[asyncio.Future[A]]) -> None:
        try:
            answers = await self.between_batches(lambda: self._timed(queries))
        except Exception as exc:
            for future in futures:
                if not future.done():
                    future.set_exception(exc)
            return
        for future, answer in zip(futures, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _timed(self, queries: list[Q]) -> Sequence[A]:
        started = perf_counter()
        try:
            return self._run(queries)
        finally:
            self._observer.batch_done(len(queries), perf_counter() - started)
