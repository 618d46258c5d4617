"""Carries out errands: asks, asks again what was not there, hedges, has loaded what is nowhere, and never raises."""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from models.contract.bundle import ServedModel
from service.workers.hedging import HedgeBudget, LatencyQuantile, hedged
from service.workers.loader import Shared
from service.workers.replica import Replica
from service.workers.routing import Errand
from service.workers.types import Outcome, OutcomeKind, PoolEvent, PoolOptions, Question

TIMED_OUT = Outcome(OutcomeKind.TIMEOUT)
UNREACHABLE = Outcome(OutcomeKind.UNREACHABLE, detail="no replica is ready")

Answer = tuple[Replica, list[Outcome]]


class Calls:
    """The calls of one pool.

    Args:
        options: of the pool.
        shared: by its replicas.
        order: the replicas in an adapter's order of preference.
    """

    def __init__(self, options: PoolOptions, shared: Shared, order: Callable[[str], Sequence[Replica]]) -> None:
        self._hedge = options.hedge
        self._shared = shared
        self._order = order
        self._latency = LatencyQuantile()
        self._budget = HedgeBudget()

    async def run(self, errand: Errand[Replica], question: Question, model: ServedModel) -> dict[str, Outcome]:
        """The outcome for each adapter of an errand, by its name. Ends at the deadline at the latest."""
        started = time.perf_counter()
        answers: dict[str, Outcome] = {}
        try:
            async with asyncio.timeout_at(question.deadline):
                if errand.holders:
                    await self._ask(errand, question, model, answers)
                else:
                    answers[errand.names[0]] = await self._fetch(errand.names[0], question, model)
        except TimeoutError:
            pass  # what came in time counts
        seconds = time.perf_counter() - started
        return {name: dataclasses.replace(answers.get(name, TIMED_OUT), seconds=seconds) for name in errand.names}

    async def _ask(
        self, errand: Errand[Replica], question: Question, model: ServedModel, answers: dict[str, Outcome]
    ) -> None:
        """Ask where the adapters are, and once more what turns out not to be there."""
        asked_at = self._shared.clock()
        replica, outcomes = await self._first_answer(errand, question)
        pairs = list(zip(errand.names, outcomes, strict=True))
        answers.update({name: outcome for name, outcome in pairs if outcome.kind is not OutcomeKind.NOT_FOUND})

        async def again(name: str) -> None:
            replica.missed(name, asked_at)
            answers[name] = await self._fetch(name, question, model)

        missed = [name for name, outcome in pairs if outcome.kind is OutcomeKind.NOT_FOUND]
        if missed:
            await asyncio.gather(*map(again, missed))

    async def _first_answer(self, errand: Errand[Replica], question: Question) -> Answer:
        free = errand.free or errand.holders[-1:]  # one that is not free says why
        call = self._call(free[0], errand, question)
        self._budget.earn()
        if not self._hedge or len(errand.holders) == 1:
            return await call

        def second() -> "Coroutine[Any, Any, Answer] | None":
            other = next((replica for replica in errand.free if replica is not free[0]), None)
            if other is None or not self._budget.spend():
                return None
            self._shared.count(PoolEvent.HEDGE_SENT)
            return self._call(other, errand, question)

        replica, outcomes = await hedged(call, second, self._latency.seconds, lambda answer: _is_answer(answer[1]))
        if replica is not free[0]:
            self._shared.count(PoolEvent.HEDGE_WON)
        return replica, outcomes

    async def _call(self, replica: Replica, errand: Errand[Replica], question: Question) -> Answer:
        started = self._shared.clock()
        try:
            outcomes = await replica.call(errand.names, question)
        except asyncio.CancelledError:  # it lost, or is too late for its request
            self._latency.observe_at_least(self._shared.clock() - started)
            raise
        if _is_answer(outcomes):
            self._latency.observe(self._shared.clock() - started)
        return replica, outcomes

    async def _fetch(self, name: str, question: Question, model: ServedModel) -> Outcome:
        """Ask an adapter that was not where it was asked, or is nowhere: where it is, else where it can be loaded."""
        replicas = [replica for replica in self._order(name) if replica.serves(model)]
        for replica in sorted(replicas, key=lambda each: _unfitness(each, name)):
            outcome = await self._fetch_from(replica, name, question)
            if outcome is not None:
                return outcome
        absences = [replica.absence(name) for replica in replicas]
        return max(absences, key=lambda absence: absence.kind is not OutcomeKind.NOT_RESIDENT, default=UNREACHABLE)

    async def _fetch_from(self, replica: Replica, name: str, question: Question) -> Outcome | None:
        """What comes of an adapter on one replica; None where it cannot come there. What is late is not waited for."""
        if replica.holds(name):
            asked_at = self._shared.clock()
            [outcome] = await replica.call([name], question)
            if outcome.kind is not OutcomeKind.NOT_FOUND:
                return outcome
            replica.missed(name, asked_at)
        if not replica.holds(name):
            load = replica.loader.load(name, demanded=True)
            if load is None:
                return None
            if not replica.loader.comes_in_time(name, question.deadline):
                return Outcome(OutcomeKind.NOT_RESIDENT, detail="it is being loaded")
            await asyncio.wait([load])
        if not replica.holds(name):
            return None
        [outcome] = await replica.call([name], question)
        if outcome.kind is OutcomeKind.NOT_FOUND:
            replica.does_not_know(name)
        return outcome


def _unfitness(replica: Replica, name: str) -> tuple[bool, bool, bool]:
    """The less, the better to get an adapter from."""
    return replica.obstacle is not None, not replica.holds(name), not replica.residency.is_loading(name)


def _is_answer(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.kind is OutcomeKind.OK for outcome in outcomes)
