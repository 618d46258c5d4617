"""What happens to every query, one of a batch or one of its own, before and after it is answered."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from models.contract.records import Exposure
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ApiError
from service.gateway.experiments.assignment import assign
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
        settings: pipelines, experiments and limits.
        snapshot: gives the bundle in service, if there is one.
        store: users' state.
        recommender: answers.
        exposures: is told what was shown.
        telemetry: is told what was answered.
    """

    def __init__(
        self,
        settings: Settings,
        snapshot: Callable[[], Snapshot | None],
        store: StateStore,
        recommender: Recommender,
        exposures: ExposureLog,
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._snapshot = snapshot
        self._store = store
        self._recommender = recommender
        self._exposures = exposures
        self._telemetry = telemetry
        self.in_flight = 0

    async def respond(self, query: Query, caller: Caller, request_id: str, trace: Trace) -> Served:
        """Answer a query. Raises ApiError where it is turned away."""
        arrived = asyncio.get_running_loop().time()
        snapshot = self._snapshot()  # read once: whatever is switched meanwhile, this request sees one bundle
        if snapshot is None:
            raise ApiError(503, "no_bundle", "No bundle is in service", headers={"Retry-After": "1"})
        if self.in_flight >= self._settings.in_flight_limit:
            raise ApiError(503, "overloaded", "Too many requests in flight", headers={"Retry-After": "1"})
        self.in_flight += 1
        try:
            served = await self._answer(query, caller, snapshot, arrived, trace)
        finally:
            self.in_flight -= 1
        self._telemetry.answered(served.answer, served.assignment)
        self._exposures.put(_exposure(served, request_id))
        return served

    async def _answer(self, query: Query, caller: Caller, snapshot: Snapshot, arrived: float, trace: Trace) -> Served:
        assignment = assign(self._settings.experiments, query.user_id, self._settings.default_pipeline)
        pipeline = self._settings.pipelines[assignment.pipeline]
        deadline_ms = query.deadline_ms or caller.deadline_ms or self._settings.default_deadline_ms
        deadline = arrived + deadline_ms / 1e3
        with trace.stage("state"):
            known = await self._read(query.user_id, snapshot.id, deadline, pipeline.rotation is not None)
        answer = await self._recommender.recommend(query, known, pipeline, snapshot, deadline, trace)
        return Served(query, answer, assignment, snapshot)

    async def _read(self, user_id: str, bundle_id: str, deadline: float, with_shown: bool) -> Known:
        try:
            return Known(await self._store.read(user_id, bundle_id, deadline, with_shown))
        except StateUnavailableError as exc:
            return Known(StoredUser(), (Reason("redis_unavailable", str(exc), degrades=True),))


def _exposure(served: Served, request_id: str) -> Exposure:
    selection = served.answer.selection
    return Exposure(
        request_id=request_id,
        user_id=served.query.user_id,
        timestamp_ms=time.time_ns() // 1_000_000,
        bundle_id=served.snapshot.id,
        pipeline=served.assignment.pipeline,
        experiments=dict(served.assignment.experiments),
        items=tuple(served.snapshot.catalogue.ids[item] for item in selection.items.tolist()),
        sources=selection.sources,
    )
