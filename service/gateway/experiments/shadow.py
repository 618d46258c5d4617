"""Shadow variants: after the response, what another pipeline would have answered. Recorded, never shown."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from models.contract.records import Exposure
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.experiments.assignment import Shadow
from service.gateway.experiments.exposure import Record
from service.gateway.ranking.recommend import Recommender
from service.gateway.types import Known, Query, Trace
from service.periodic import cancel_all

logger = logging.getLogger(__name__)


class Shadows:
    """Tries shadow variants in the background, each with a deadline of its own; a few at a time, none under pressure.

    Args:
        recommender: answers.
        put: takes what makes an exposure.
        count: told of a shadow's name and end: ``answered``, ``degraded``, ``dropped`` or ``failed``.
        default_deadline_ms: of shadows that name none.
        limit: how many may run at one time.
        pressed: whether the service needs its capacity for requests.
    """

    def __init__(
        self,
        recommender: Recommender,
        put: Callable[[Callable[[], Exposure]], None],
        count: Callable[[str, str], None],
        default_deadline_ms: int,
        limit: Callable[[], int],
        pressed: Callable[[], bool],
    ) -> None:
        self._recommender = recommender
        self._put = put
        self._count = count
        self._default_deadline_ms = default_deadline_ms
        self._limit = limit
        self._pressed = pressed
        self._running: set[asyncio.Task[None]] = set()

    def offer(self, shadows: Sequence[Shadow], query: Query, known: Known, snapshot: Snapshot, request_id: str) -> None:
        """Try those shadows whose sample holds the request.

        They begin when the request's task next waits, which it does not between its answer and its response. What the
        request found out of its user serves them, too.
        """
        for shadow in shadows:
            if not shadow.sample.holds(request_id.encode()):
                continue
            if len(self._running) >= self._limit() or self._pressed():
                self._count(shadow.name, "dropped")
                continue
            task = asyncio.create_task(self._try(shadow, query, known, snapshot, request_id))
            self._running.add(task)
            task.add_done_callback(partial(self._end, shadow))

    async def close(self) -> None:
        """Cancel what runs."""
        await cancel_all(list(self._running))

    async def _try(self, shadow: Shadow, query: Query, known: Known, snapshot: Snapshot, request_id: str) -> None:
        assignment, started, timestamp_ms = shadow.assignment, time.perf_counter(), time.time_ns() // 1_000_000
        asked = replace(query, explain=False)  # nobody will read it
        deadline = asyncio.get_running_loop().time() + (assignment.deadline_ms or self._default_deadline_ms) / 1e3
        answer = await self._recommender.recommend(asked, known, assignment.settings, snapshot, deadline, Trace())
        latency_ms = (time.perf_counter() - started) * 1e3
        record = Record(query, answer, assignment, snapshot, shadow.name)
        self._put(partial(record.shown, request_id, query.context, timestamp_ms, latency_ms))
        self._count(shadow.name, "degraded" if answer.degraded else "answered")

    def _end(self, shadow: Shadow, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._count(shadow.name, "failed")
            logger.error("shadow %s failed", shadow.name, exc_info=bug)
