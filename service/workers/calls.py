"""Carries out errands: asks, asks again what was not there, hedges, has loaded what is nowhere, and never raises."""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from models.contract.bundle import Bundle
from service.workers.hedging import LatencyQuantile, hedged
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

    async def run(self, errand: Errand[Replica], question: Question, bundle: Bundle) -> dict[str, Outcome]:
        """The outcome for each adapter of an errand, by its name. Ends at the deadline at the latest."""
        started = time.perf_counter()
        answers: dict[str, Outcome] = {}
        try:
            async with asyncio.timeout_at(question.deadline):
                if errand.holders:
                    await self._ask(errand, question, answers)
                else:
                    answers[errand.names[0]] = await self._fetch(errand.names[0], question, bundle)
        except TimeoutError:
            pass  # what came in time counts
        seconds = time.perf_counter() - started
        return {name: dataclasses.replace(answers.get(name, TIMED_OUT), seconds=seconds) for name in errand.names}

    async def _ask(self, errand: Errand[Replica], question: Question, answers: dict[str, Outcome]) -> None:
        """Ask where the adapters are, and once more what turns out not to be there."""
        asked_at = self._shared.clock()
        replica, outcomes = await self._first_answer(errand, question)
        pairs = list(zip(errand.names, outcomes, strict=True))
        answers.update({name: outcome for name, outcome in pairs if outcome.kind is not OutcomeKind.NOT_FOUND})

        async def again(name: str) -> None:
            answers[name] = await replica.call_again(name, question, asked_at)

        missed = [name for name, outcome in pairs if outcome.kind is OutcomeKind.NOT_FOUND]
        if missed:
            await asyncio.gather(*map(again, missed))

    async def _first_answer(self, errand: Errand[Replica], question: Question) -> Answer:
        free = errand.free or errand.holders[-1:]  # one that is not free says why
        call = self._call(free[0], errand, question)
        if not self._hedge or len(errand.holders) == 1:
            return await call

        def second() -> "Coroutine[Any, Any, Answer] | None":
            other = next((replica for replica in errand.free if replica is not free[0]), None)
            if other is None:
                return None
            self._shared.count(PoolEvent.HEDGE_SENT)
            return self._call(other, errand, question)

        replica, outcomes = await hedged(call, second, self._latency.seconds, lambda answer: _is_answer(answer[1]))
        if replica is not free[0]:
            self._shared.count(PoolEvent.HEDGE_WON)
        return replica, outcomes

    async def _call(self, replica: Replica, errand: Errand[Replica], question: Question) -> Answer:
        started = self._shared.clock()
        outcomes = await replica.call(errand.names, question)
        if _is_answer(outcomes):
            self._latency.observe(self._shared.clock() - started)
        return replica, outcomes

    async def _fetch(self, name: str, question: Question, bundle: Bundle) -> Outcome:
        """Have an adapter loaded that no replica holds, and ask it; where it would come too late, do not wait."""
        replicas = [replica for replica in self._order(name) if replica.serves(bundle)]
        for replica in sorted(replicas, key=lambda each: not each.residency.is_loading(name)):
            load = replica.loader.load(name, demanded=True)
            if load is None:
                continue
            if not replica.loader.comes_in_time(name, question.deadline):
                return Outcome(OutcomeKind.NOT_RESIDENT, detail="it is being loaded")
            await asyncio.wait([load])
            if replica.holds(name):
                return (await replica.call([name], question))[0]
        absences = [replica.absence(name) for replica in replicas]
        return max(absences, key=lambda absence: absence.kind is not OutcomeKind.NOT_RESIDENT, default=UNREACHABLE)


def _is_answer(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.kind is OutcomeKind.OK for outcome in outcomes)
