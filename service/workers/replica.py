"""One replica of a pool: whether it is well, what it serves, its adapters, its breaker, and calls to it."""

import asyncio
import logging
import time
from collections.abc import Sequence

from models.contract.bundle import ServedModel
from service.workers.breaker import Breaker
from service.workers.client import NobodyListensError, WorkerClient, WorkerError
from service.workers.completion import Completion
from service.workers.demand import Demand
from service.workers.latencies import Latencies
from service.workers.loader import FAILED_SECONDS, Loader, Shared
from service.workers.residency import Refusal, Residency
from service.workers.roster import names_of
from service.workers.types import (
    Outcome,
    OutcomeKind,
    PoolEvent,
    PoolOptions,
    Question,
    ReplicaStatus,
    ServedModels,
)

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_SECONDS = 2.0
OUTAGE_LOOKS = 2  # looks in a row that must fail: one that is slow or unlucky is no outage
FAIR_SECONDS = 0.05  # a call that was given less says nothing about the replica when it times out
LONGEST_REST_SECONDS = 5.0  # whatever a worker asks for


class Replica:
    """A worker process, brought to readiness and kept there.

    Args:
        client: speaks to the worker.
        options: of the pool.
        demand: of the pool.
        shared: with the pool's other replicas.
    """

    def __init__(self, client: WorkerClient, options: PoolOptions, demand: Demand, shared: Shared) -> None:
        self.breaker = Breaker(options.failures_to_open, options.cooldown_seconds, shared.clock)
        self.residency = Residency(options.slots, demand, shared.clock)
        self.loader = Loader(client, self.residency, shared)
        self.bases: frozenset[str] = frozenset()  # that it serves; none where it is not well
        self.in_flight = 0
        self._client = client
        self._options = options
        self._shared = shared
        self._trouble = "not probed yet"
        self._failed_looks = 0
        self._rests_until = 0.0
        self._latencies = Latencies()

    @property
    def url(self) -> str:
        return self._client.url

    @property
    def is_resting(self) -> bool:
        """Whether it asked to be left alone for now."""
        return self._shared.clock() < self._rests_until

    @property
    def obstacle(self) -> Outcome | None:
        """Why it can take no call now; None where it can."""
        if self.in_flight >= self._options.in_flight_limit:
            return Outcome(OutcomeKind.REFUSED, detail="calls in flight are at their limit")
        return None if self.breaker.admits else Outcome(OutcomeKind.UNREACHABLE, detail="breaker is open")

    def serves(self, model: ServedModel) -> bool:
        """Whether it is well, and has a bundle's base model."""
        return model.base_id in self.bases

    def holds(self, name: str) -> bool:
        """Whether an adapter can be asked here."""
        return bool(self.bases) and self.residency.holds(name)

    def is_ready_for(self, model: ServedModel) -> bool:
        """Whether all is here that should be here of a bundle, but for what was refused."""
        return self.serves(model) and not self.residency.pending(set(names_of(model)))

    def status(self) -> ReplicaStatus:
        """The replica as it stands."""
        expected = self._shared.roster.expected
        ready = tuple(model.id for model in expected if self.is_ready_for(model))
        refused = [f"{name}: {refusal.why}" for name, refusal in self.residency.refusals.items()]
        reason = "" if ready else self._trouble or self._not_ready(expected)
        return ReplicaStatus(
            pool=self._shared.pool,
            url=self.url,
            bundles=ready,
            reason=reason,
            refused=tuple(refused),
            breaker=self.breaker.state,
            in_flight=self.in_flight,
            adapters=tuple(sorted(self.residency.names)),
            latency_ms=self._latencies.summary(),
        )

    async def look(self) -> None:
        """See whether the worker is well and what it has. What it had is forgotten when its process is gone."""
        asked_at = self._shared.clock()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                served = await self._client.served_models()
        except NobodyListensError as exc:
            self._failed_looks = OUTAGE_LOOKS
            self._is_unwell(str(exc))
            self.residency.restarted()
        except WorkerError as exc:
            self._look_failed(str(exc))
        except TimeoutError:
            self._look_failed(f"no answer to a probe within {PROBE_TIMEOUT_SECONDS} s")
        else:
            self._is_well(served, asked_at)

    async def tidy(self) -> bool:
        """Unload one adapter that is no longer wanted, or load one that is. Says whether there was one.

        What takes longer than a probe interval goes on by itself: it keeps neither looks nor other adapters waiting.
        """
        for name in self.residency.refusals:
            if self._shared.roster.owner(name) is None:
                self.residency.forgive(name)
        if not self.bases:
            return False
        for name in [*self.residency.names, *self.residency.owed]:
            unwanted = self._shared.roster.owner(name) is None and not self.residency.is_used(name)
            if unwanted and await self._is_gone(name):
                return True
        for name in self.residency.pending():
            if self.loader.is_busy:
                break
            load = None if self.residency.is_loading(name) else self.loader.load(name, demanded=False)
            if load is not None:
                await asyncio.wait([load], timeout=self._options.probe_interval_seconds)
                return True
        return False

    async def call(self, names: Sequence[str], question: Question) -> list[Outcome]:
        """Ask adapters that are here. What comes of it counts for or against the replica."""
        obstacle = self.obstacle
        token = self.breaker.acquire() if obstacle is None else None
        if token is None:
            return [obstacle or Outcome(OutcomeKind.UNREACHABLE)] * len(names)
        clock, kind = self._shared.clock, None
        began, started = clock(), time.perf_counter()  # the loop's clock may count whole milliseconds
        fair = question.deadline - began >= FAIR_SECONDS
        self.in_flight += 1
        try:
            with self.residency.using(names):
                outcomes = await self._ask(names, question)
            kind = _verdict(outcomes)
            if kind is OutcomeKind.TIMEOUT:
                kind = None  # that it would come too late is the word of a worker that is well
            self._rest(max(outcome.retry_after_seconds for outcome in outcomes))
            return outcomes
        finally:
            self.in_flight -= 1
            self._latencies.note(time.perf_counter() - started)
            if kind is None and clock() >= question.deadline:
                # Where others were answered meanwhile, the adapter is slow, not the replica: the calls of one burst are
                # late together, and would open the breaker for all adapters.
                kind = OutcomeKind.TIMEOUT if fair and not self.breaker.answered_since(began) else None
            _judge(self.breaker, token, kind)

    def missed(self, name: str, asked_at: float) -> None:
        """The worker turned out not to know an adapter when it was asked."""
        self._shared.count(PoolEvent.ADAPTER_MISSED)
        self.residency.missed(name, asked_at)

    def does_not_know(self, name: str) -> None:
        """The worker does not know an adapter that has just been loaded: loading it for each request would not help."""
        why = "the worker does not know it, though it says that it has loaded it"
        self.residency.refused(name, Refusal(OutcomeKind.NOT_FOUND, why, self._shared.clock() + FAILED_SECONDS))

    def absence(self, name: str) -> Outcome:
        """What to say of an adapter that is not here."""
        refusal = self.residency.refusal(name)
        if refusal is None:
            return Outcome(OutcomeKind.NOT_RESIDENT, detail="no slot is free")
        return Outcome(refusal.kind, detail=refusal.why)

    async def _is_gone(self, name: str) -> bool:
        """Unload an adapter: whether it is gone, or will be for all that is known."""
        unload = self.loader.unload(name)
        await asyncio.wait([unload], timeout=self._options.probe_interval_seconds)
        return not unload.done() or unload.result()

    async def _ask(self, names: Sequence[str], question: Question) -> list[Outcome]:
        inquiry = question.inquiry
        if self._options.kind == "engine" and isinstance(inquiry, Completion):
            left_seconds = max(question.deadline - self._shared.clock(), 0.0)
            return await self._client.fan_out(names, inquiry, left_seconds)
        return [await self._client.ask(name, inquiry) for name in names]

    def _rest(self, seconds: float) -> None:
        if seconds:
            self._rests_until = self._shared.clock() + min(seconds, LONGEST_REST_SECONDS)

    def _is_well(self, served: ServedModels, asked_at: float) -> None:
        if not self.bases:
            logger.info("worker %s serves %s", self.url, _names(served.bases))
            self.breaker.succeeded()  # whatever failed was another process
        self.bases, self._trouble, self._failed_looks = served.bases, "", 0
        self.residency.seen(served.adapters, asked_at)

    def _look_failed(self, trouble: str) -> None:
        self._failed_looks += 1
        if self._failed_looks >= OUTAGE_LOOKS or not self.bases:
            self._is_unwell(trouble)

    def _is_unwell(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.warning("worker %s is not usable: %s", self.url, trouble)
        self.bases, self._trouble = frozenset(), trouble

    def _not_ready(self, expected: Sequence[ServedModel]) -> str:
        bases = frozenset(model.base_id for model in expected)
        if self.bases & bases:
            return "adapters are being loaded"
        wanted = ", ".join(f"{model.base_id} (of {model.id})" for model in expected)
        return f"serves {_names(self.bases)}, expected {wanted or 'nothing'}"


def _verdict(outcomes: Sequence[Outcome]) -> OutcomeKind:
    """What answers to one call say together: that it answered, if it did so for one adapter."""
    kinds = [outcome.kind for outcome in outcomes]
    return OutcomeKind.OK if OutcomeKind.OK in kinds else kinds[0]


def _judge(breaker: Breaker, token: int, kind: OutcomeKind | None) -> None:
    """What a call says about its replica; ``kind`` is None where the client left, or the deadline was no fair test."""
    if kind is OutcomeKind.OK:
        breaker.succeeded()
    elif kind in {OutcomeKind.TIMEOUT, OutcomeKind.UNREACHABLE, OutcomeKind.INVALID}:
        breaker.failed(token)
    else:
        breaker.undecided(token)


def _names(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
