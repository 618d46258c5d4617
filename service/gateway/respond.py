"""What happens to every query, one of a batch or one of its own, before and after it is answered."""

import asyncio
import time
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ApiError, no_bundle
from service.gateway.experiments.assignment import Experiments
from service.gateway.experiments.exposure import Record
from service.gateway.experiments.override import OVERRIDE_HEADER, OverrideError
from service.gateway.experiments.shadow import Shadows
from service.gateway.ranking.effort import SAVING_CODES
from service.gateway.ranking.recommend import Recommender
from service.gateway.ranking.settings import GlobalPipeline
from service.gateway.settings import Settings
from service.gateway.store.exposures import ExposureLog
from service.gateway.telemetry import Telemetry
from service.gateway.traffic.cache import CacheOutcome
from service.gateway.traffic.control import TrafficControl
from service.gateway.types import (
    Answer,
    Assignment,
    Caller,
    Effort,
    Known,
    Query,
    Reason,
    StateStore,
    StateUnavailableError,
    StoredUser,
    Trace,
)

Gate = AbstractAsyncContextManager[object]
OPEN_GATE: Gate = nullcontext()
MAX_KEPT_BYTES = 16 * 1024  # long requests, and long lists that are explained, are rare and would crowd the others out


@dataclass(frozen=True, slots=True)
class Served:
    """An answer, the bundle that it comes from, and the variants that the user was in."""

    query: Query
    answer: Answer
    assignment: Assignment
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Ready:
    """What equal requests get: ``body`` is the JSON but for request id and timings, ``record`` goes to the log."""

    served: Served
    body: bytes
    record: Record


@dataclass(frozen=True, slots=True)
class _Job:
    """All that an answer is made of, and by when. ``gate`` is passed before workers are asked.

    ``arrived`` is on the loop's clock, which deadlines go by; it may count whole milliseconds, so that lengths are
    measured from ``started``.
    """

    query: Query
    known: Known
    assignment: Assignment
    snapshot: Snapshot
    effort: Effort
    arrived: float
    started: float
    patience_seconds: float
    gate: Gate
    trace: Trace

    @property
    def deadline(self) -> float:
        return self.arrived + self.patience_seconds

    def key(self) -> Hashable:
        """Equal for jobs whose answers are equal. The user's own events change the version of what is stored."""
        return (
            self.query.shape(),
            self.known.stored.version(),
            self.snapshot.id,
            self.assignment,  # one object for all who got the same from one experiments file
            self.effort,
            self.known.hidden,
        )


class Responder:
    """Assigns variants, reads users' state, finds or makes the answer, and notes what was shown.

    Args:
        settings: deadlines.
        snapshot: gives the bundle that a request is served from, which may ask for one; None while there is none.
        experiments: gives the experiments in service.
        hidden: gives the ids of items that must not be shown to anybody.
        store: users' state.
        recommender: answers.
        exposures: is told what was shown.
        shadows: tries other pipelines on the same query afterwards.
        telemetry: is told what was answered.
        traffic: what a request may cost, and the answers of a moment ago.
        render: the JSON body of an answer, but for request id and timings.
    """

    def __init__(
        self,
        settings: Settings,
        snapshot: Callable[[str | None], Snapshot | None],
        experiments: Callable[[], Experiments],
        hidden: Callable[[], frozenset[str]],
        store: StateStore,
        recommender: Recommender,
        exposures: ExposureLog,
        shadows: Shadows,
        telemetry: Telemetry,
        traffic: TrafficControl[Ready],
        render: Callable[[Served], bytes],
    ) -> None:
        self._settings = settings
        self._snapshot = snapshot
        self._experiments = experiments
        self._hidden = hidden
        self._store = store
        self._recommender = recommender
        self._exposures = exposures
        self._shadows = shadows
        self._telemetry = telemetry
        self._traffic = traffic
        self._render = render

    async def respond(
        self, query: Query, caller: Caller, request_id: str, trace: Trace, gate: Gate = OPEN_GATE
    ) -> Ready:
        """Answer a query.

        Args:
            query: what is asked.
            caller: who asks.
            request_id: what the exposure log calls it.
            trace: notes what each stage took.
            gate: passed before workers are asked; those of a batch share one.

        Raises:
            ApiError: no bundle is in service, or the query asks for what there is not.
        """
        arrived, started = asyncio.get_running_loop().time(), time.perf_counter()
        experiments = self._experiments()  # read once, as the bundle is
        assignment = _assign(experiments, query.user_id, caller)
        snapshot = self._snapshot(assignment.bundle)  # whatever is switched meanwhile, this request sees one bundle
        if snapshot is None:
            raise no_bundle()
        wanted_ms = query.deadline_ms or assignment.deadline_ms or caller.deadline_ms
        patience = (wanted_ms or self._settings.default_deadline_ms) / 1e3
        trace.due_in(patience)
        with trace.stage("state"):
            known = await read_known(
                self._store, query.user_id, snapshot.id, arrived + patience, assignment, self._hidden()
            )
        if assignment.bundle not in {None, snapshot.id}:
            known = replace(known, reasons=(*known.reasons, Reason("bundle_not_ready", str(assignment.bundle))))
        effort = self._traffic.quality.effort()
        job = _Job(query, known, assignment, snapshot, effort, arrived, started, patience, gate, trace)
        ready, outcome = await self._answer(job)
        self._note(job, ready, outcome, caller, request_id)
        if not caller.batch:  # nobody compares those, and one batch would crowd out all others
            self._shadows.offer(experiments.shadows, query, known, snapshot, request_id)
        return ready

    def _note(self, job: _Job, ready: Ready, outcome: CacheOutcome, caller: Caller, request_id: str) -> None:
        """Metrics, what quality and limit hear, and the exposure log."""
        self._telemetry.cache(outcome)
        self._telemetry.answered(ready.served.answer, job.assignment)
        made = outcome in (CacheOutcome.MISS, CacheOutcome.OFF)
        if made and not caller.batch:
            self._observe(job)
        now_ms, latency_ms = time.time_ns() // 1_000_000, (time.perf_counter() - job.started) * 1e3
        shown = partial(ready.record.shown, request_id, job.query.context, now_ms, latency_ms, not made)
        self._exposures.put(shown)

    async def _answer(self, job: _Job) -> tuple[Ready, CacheOutcome]:
        failed = any(reason.degrades for reason in job.known.reasons)
        if failed or not (job.query.use_cache and self._traffic.caches):
            return await self._make(job), CacheOutcome.OFF
        began, key, cache = time.perf_counter(), job.key(), self._traffic.cache
        found = cache.find(key, lambda: self._make(_anew(job)))
        if found is None and not self._asks_models(job):
            return await cache.make(key, lambda: self._make(job))
        try:
            patience, make = job.patience_seconds, lambda: self._make(job)
            # Nobody joins those who wait at another gate: people would queue behind a batch.
            found = found or await cache.share(key, patience, job.deadline, make, crowd=job.gate)
        except TimeoutError:  # what others wait for comes too late here
            return await self._make(replace(job, effort=replace(job.effort, models=False))), CacheOutcome.OFF
        if found[1] is not CacheOutcome.MISS:
            job.trace.note("cache", time.perf_counter() - began)
        return found

    def _asks_models(self, job: _Job) -> bool:
        """Whether an answer takes time, and not only the processor's, so that others may ask meanwhile."""
        return job.effort.models and not isinstance(job.assignment.settings, GlobalPipeline)

    async def _make(self, job: _Job) -> Ready:
        pipeline = job.assignment.settings
        async with job.gate:
            answer = await self._recommender.recommend(
                job.query, job.known, pipeline, job.snapshot, job.deadline, job.trace, job.effort
            )
        served = Served(job.query, answer, job.assignment, job.snapshot)
        return Ready(served, self._render(served), Record(job.query, answer, job.assignment, job.snapshot))

    def _observe(self, job: _Job) -> None:
        """Let quality and limit know what the request took; of its own time, none was spent in workers."""
        seconds = time.perf_counter() - job.started
        # A caller in a hurry is no sign of pressure, nor is one slow community.
        usual = max(job.patience_seconds, self._settings.default_deadline_ms / 1e3)
        self._traffic.quality.observe((seconds - job.trace.straggled) / usual)
        self._traffic.admission.observe(seconds - job.trace.seconds.get("slowest_call", 0.0))


async def read_known(
    store: StateStore, user_id: str, bundle_id: str, deadline: float, assignment: Assignment, hidden: frozenset[str]
) -> Known:
    """What the store says of a user, or why it says nothing."""
    rotates = assignment.settings.rotation is not None
    try:
        stored = await store.read(user_id, bundle_id, deadline, rotates)
        return Known(stored, assignment.reasons, hidden)
    except StateUnavailableError as exc:
        unavailable = Reason("redis_unavailable", str(exc), degrades=True)
        return Known(StoredUser(), (*assignment.reasons, unavailable), hidden)


def keeps(ready: Ready) -> bool:
    """Whether an answer may serve again: not where something failed. Less effort is no failure; the key has it."""
    return len(ready.body) + ready.served.query.size() <= MAX_KEPT_BYTES and not any(
        reason.degrades and reason.code not in SAVING_CODES for reason in ready.served.answer.reasons
    )


def _anew(job: _Job) -> _Job:
    """The same, for nobody in particular, from now on. It passes the gate, too: a batch may find much that is stale."""
    return replace(job, arrived=asyncio.get_running_loop().time(), started=time.perf_counter(), trace=Trace())


def _assign(experiments: Experiments, user_id: str, caller: Caller) -> Assignment:
    try:
        return experiments.assign(user_id, time.time(), caller.variants)
    except OverrideError as exc:
        raise ApiError(422, "invalid_request", str(exc), OVERRIDE_HEADER) from exc
