"""Shadows: some requests only, a few at a time, none under pressure, and whatever happens to them stays with them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from support.experiment_files import experiments_of

from models.contract.records import Exposure
from models.contract.selection import Selection
from models.contract.types import item_numbers
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.experiments.shadow import Shadows
from service.gateway.ranking.recommend import Recommender
from service.gateway.types import Answer, Known, Query, Reason, StoredUser

SELECTION = Selection(item_numbers([]), np.empty(0, np.float32), ())
NOBODY = Known(StoredUser())
QUERY = Query("u")


class StubRecommender:
    """Answers when it is told to; notes what it was asked."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[dict[str, Any]] = []
        self.reasons: tuple[Reason, ...] = ()
        self.bug = False

    async def recommend(self, query, known, pipeline, snapshot, deadline, trace) -> Answer:
        loop = asyncio.get_running_loop()
        self.asked.append({"query": query, "known": known, "pipeline": pipeline, "seconds": deadline - loop.time()})
        await self.go.wait()
        if self.bug:
            raise KeyError("bug")
        return Answer(SELECTION, {}, self.reasons, 0, 0)


class Tried:
    """Shadows before a stub, what they recorded and counted."""

    def __init__(self, limit: int = 2) -> None:
        self.recommender = StubRecommender()
        self.records: list[Callable[[], Exposure]] = []
        self.counts: Counter[str] = Counter()
        self.pressed = False
        self.shadows = Shadows(
            cast(Recommender, self.recommender),
            self.records.append,
            lambda shadow, outcome: self.counts.update([f"{shadow} {outcome}"]),
            300,
            lambda: limit,
            lambda: self.pressed,
        )

    def offer(self, request_id: str = "r", share: float = 1.0, query: Query = QUERY, **parameters: Any) -> None:
        table = {"name": "s", "share": share, "pipeline": "cf", "parameters": parameters}
        known = experiments_of(shadows=[table]).shadows
        self.shadows.offer(known, query, NOBODY, cast(Snapshot, None), request_id)

    async def end(self) -> None:
        """Let all that run answer."""
        self.recommender.go.set()
        async with asyncio.timeout(5):
            while self.shadows._running:  # noqa: ASYNC110 - it announces itself to nobody
                await asyncio.sleep(0)


async def test_a_shadow_runs_its_own_pipeline_by_its_own_deadline():
    tried = Tried()
    tried.offer(query=Query("u", deadline_ms=5, explain=True), deadline_ms=700)
    assert tried.recommender.asked == []  # not before the request's task has waited
    await tried.end()
    (asked,) = tried.recommender.asked
    assert asked["pipeline"].kind == "cf"
    assert asked["known"] is NOBODY
    assert asked["query"] == Query("u", deadline_ms=5)
    assert asked["seconds"] == pytest.approx(0.7, abs=0.05)
    assert tried.counts == {"s answered": 1}
    assert len(tried.records) == 1


async def test_its_share_of_requests_is_tried():
    tried = Tried(limit=10_000)
    for number in range(2_000):
        tried.offer(f"r{number}", share=0.1)
    await tried.end()
    assert tried.counts["s answered"] / 2_000 == pytest.approx(0.1, abs=0.02)
    assert tried.counts.keys() == {"s answered"}


async def test_what_exceeds_the_limit_is_dropped():
    tried = Tried(limit=2)
    for number in range(5):
        tried.offer(f"r{number}")
    assert tried.counts == {"s dropped": 3}
    await tried.end()
    assert tried.counts == {"s dropped": 3, "s answered": 2}
    tried.offer()
    await tried.end()
    assert tried.counts["s answered"] == 3


async def test_nothing_runs_under_pressure():
    tried = Tried()
    tried.pressed = True
    tried.offer()
    await tried.end()
    assert (tried.counts, tried.recommender.asked) == ({"s dropped": 1}, [])


async def test_degraded_answers_are_recorded_and_said():
    tried = Tried()
    tried.recommender.reasons = (Reason("worker_timeout", "c00", degrades=True),)
    tried.offer()
    await tried.end()
    assert tried.counts == {"s degraded": 1}
    assert len(tried.records) == 1


async def test_a_bug_is_counted_and_logged(caplog: pytest.LogCaptureFixture):
    tried = Tried()
    tried.recommender.bug = True
    with caplog.at_level(logging.ERROR):
        tried.offer()
        await tried.end()
    assert tried.counts == {"s failed": 1}
    assert tried.records == []
    assert "shadow s failed" in caplog.text


async def test_what_runs_when_the_process_stops_is_cancelled():
    tried = Tried()
    tried.offer()
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await tried.shadows.close()
    assert len(tried.recommender.asked) == 1
    assert tried.records == []
    assert not tried.counts
