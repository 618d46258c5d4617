"""What happens to every query, one of a batch or one of its own, before and after it is answered."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ApiError
from service.gateway.experiments.assignment import Experiments
from service.gateway.experiments.exposure import Record
from service.gateway.experiments.override import OVERRIDE_HEADER, OverrideError
from service.gateway.experiments.shadow import Shadows
from service.gateway.ranking.recommend import Recommender
from service.gateway.settings import Settings
from service.gateway.store.exposures import ExposureLog
from service.gateway.telemetry import Telemetry
from service.gateway.types import (
    Answer,
    Assignment,
    Caller,
    Known,
    Query,
    Reason,
    StateStore,
    StateUnavailableError,
    StoredUser,
    Trace,
)


@dataclass(frozen=True, slots=True)
class Served:
    """An answer, the bundle that it comes from, and the variants that the user was in."""

    query: Query
    answer: Answer
    assignment: Assignment
    snapshot: Snapshot


class Responder:
    """Admits queries, assigns variants, reads users' state, asks for the answer, and notes what was shown.

    Args:
        settings: pipelines and limits.
        snapshot: gives the bundle in service, if there is one.
        experiments: gives the experiments in service.
        store: users' state.
        recommender: answers.
        exposures: is told what was shown.
        shadows: tries other pipelines on the same query afterwards.
        telemetry: is told what was answered.
    """

    def __init__(
        self,
        settings: Settings,
        snapshot: Callable[[], Snapshot | None],
        experiments: Callable[[], Experiments],
        store: StateStore,
        recommender: Recommender,
        exposures: ExposureLog,
        shadows: Shadows,
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._snapshot = snapshot
        self._experiments = experiments
        self._store = store
        self._recommender = recommender
        self._exposures = exposures
        self._shadows = shadows
        self._telemetry = telemetry
        self.in_flight = 0

    async def respond(self, query: Query, caller: Caller, request_id: str, trace: Trace) -> Served:
        """Answer a query. Raises ApiError where it is turned away."""
        arrived, started = asyncio.get_running_loop().time(), time.perf_counter()
        snapshot = self._snapshot()  # read once: whatever is switched meanwhile, this request sees one bundle
        if snapshot is None:
            raise ApiError(503, "no_bundle", "No bundle is in service", headers={"Retry-After": "1"})
        if self.in_flight >= self._settings.in_flight_limit:
            raise ApiError(503, "overloaded", "Too many requests in flight", headers={"Retry-After": "1"})
        self.in_flight += 1
        try:
            served = await self._answer(query, caller, snapshot, arrived, request_id, trace)
        finally:
            self.in_flight -= 1
        self._telemetry.answered(served.answer, served.assignment)
        latency_ms = (time.perf_counter() - started) * 1e3
        record = Record(query, served.answer, served.assignment, served.snapshot)
        self._exposures.put(partial(record.shown, request_id, query.context, time.time_ns() // 1_000_000, latency_ms))
        return served

    async def _answer(
        self, query: Query, caller: Caller, snapshot: Snapshot, arrived: float, request_id: str, trace: Trace
    ) -> Served:
        experiments = self._experiments()  # read once, as the bundle is
        assignment = _assign(experiments, query.user_id, caller)
        wanted_ms = query.deadline_ms or assignment.deadline_ms or caller.deadline_ms
        deadline = arrived + (wanted_ms or self._settings.default_deadline_ms) / 1e3
        with trace.stage("state"):
            known = await self._read(query.user_id, snapshot.id, deadline, assignment.settings.rotation is not None)
        if assignment.reasons:
            known = replace(known, reasons=(*assignment.reasons, *known.reasons))
        answer = await self._recommender.recommend(query, known, assignment.settings, snapshot, deadline, trace)
        if not caller.batch:  # nobody compares those, and one batch would crowd out all others
            self._shadows.offer(experiments.shadows, query, known, snapshot, request_id)
        return Served(query, answer, assignment, snapshot)

    async def _read(self, user_id: str, bundle_id: str, deadline: float, with_shown: bool) -> Known:
        try:
            return Known(await self._store.read(user_id, bundle_id, deadline, with_shown))
        except StateUnavailableError as exc:
            return Known(StoredUser(), (Reason("redis_unavailable", str(exc), degrades=True),))


def _assign(experiments: Experiments, user_id: str, caller: Caller) -> Assignment:
    try:
        return experiments.assign(user_id, time.time(), caller.variants)
    except OverrideError as exc:
        raise ApiError(422, "invalid_request", str(exc), OVERRIDE_HEADER) from exc
