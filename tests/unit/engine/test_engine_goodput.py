"""Answers in time under load: the model is a formula, its time is the clock's."""

import asyncio
from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest

from service.engine.batcher import Batcher
from service.engine.errors import DeadlineError, OverloadedError

pytestmark = pytest.mark.engine

CALLS, MAX_BATCH, DEADLINE_SECONDS = 9, 64, 0.06
FIXED_SECONDS, CALL_SECONDS = 0.008, 0.0002
FULL = MAX_BATCH // CALLS  # requests
CAPACITY = FULL / (FIXED_SECONDS + CALL_SECONDS * FULL * CALLS)  # requests a second
N_REQUESTS = 3000


class Simulation:
    """Requests of nine calls come at random; a batch puts the clock on, and lets come what comes meanwhile."""

    def __init__(self, load: float, noise: float) -> None:
        rng = np.random.default_rng(0)
        self._arrivals = deque(np.cumsum(rng.exponential(1 / (load * CAPACITY), N_REQUESTS)).tolist())
        self._rng, self._noise = rng, noise
        self._batcher: Batcher[float, float] = Batcher(self._answer, MAX_BATCH, 1024, self, clock=lambda: self.now)
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[Sequence[float]]] = set()
        self.now = 0.0
        self.in_time = 0

    def batch_done(self, size: int, seconds: float) -> None:
        """Nothing is observed."""

    async def run(self) -> None:
        """All requests; ``in_time`` counts those that were answered before their deadline, ``now`` is the end."""
        self._batcher.start()
        while self._arrivals:
            self.now = max(self.now, self._arrivals[0])
            self._come(self._arrivals.popleft())
            while self._waiting:
                await asyncio.wait(self._waiting)
        await self._batcher.close()

    def _answer(self, arrived: Sequence[float]) -> Sequence[float]:
        seconds = (FIXED_SECONDS + CALL_SECONDS * len(arrived)) * (1 + self._noise * self._rng.standard_normal())
        self.now += seconds
        while self._arrivals and self._arrivals[0] <= self.now:
            self._loop.call_soon_threadsafe(self._come, self._arrivals.popleft())
        self.in_time += sum(self.now <= each + DEADLINE_SECONDS for each in arrived[::CALLS])
        return arrived

    def _come(self, arrived: float) -> None:
        try:
            future = self._batcher.submit_all([arrived] * CALLS, arrived + DEADLINE_SECONDS)
        except OverloadedError:
            return
        self._waiting.add(future)
        future.add_done_callback(self._left)

    def _left(self, future: asyncio.Future[Sequence[float]]) -> None:
        self._waiting.discard(future)
        assert future.exception() is None or isinstance(future.exception(), DeadlineError)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("load", [0.3, 0.8])
async def test_below_capacity_nearly_all_are_in_time(load: float, noise: float) -> None:
    simulation = Simulation(load, noise)
    await simulation.run()
    assert simulation.in_time >= 0.99 * N_REQUESTS


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("load", [1.2, 2.0, 4.0])
async def test_above_capacity_most_of_it_is_used_for_answers_in_time(load: float, noise: float) -> None:
    simulation = Simulation(load, noise)
    await simulation.run()
    assert simulation.in_time >= 0.8 * CAPACITY * simulation.now
