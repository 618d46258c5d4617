"""Equal requests share a computation, which outlives whoever leaves, but not the last."""

import asyncio
from collections import Counter

import pytest

from service.gateway.traffic.cache import AnswerCache, CacheOutcome
from service.gateway.traffic.entries import Entries
from service.gateway.traffic.settings import CacheSettings

HIT, STALE, MISS, COALESCED = CacheOutcome.HIT, CacheOutcome.STALE, CacheOutcome.MISS, CacheOutcome.COALESCED


class World:
    """A cache whose answers are numbers, made when ``open`` is set; odd ones are not kept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.made = 0
        self.counts: Counter[str] = Counter()
        self.open = asyncio.Event()
        entries: Entries[int] = Entries(CacheSettings(ttl_ms=2_000, stale_ms=1_000), lambda: self.now, lambda: 0.0)
        self.cache = AnswerCache(entries, lambda value: value % 2 == 0)

    async def make(self) -> int:
        self.counts["begun"] += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.counts["cancelled"] += 1
            raise
        self.made += 2
        return self.made

    def ask(self, patience: float = 5.0) -> "asyncio.Task[tuple[int, CacheOutcome]]":
        deadline = asyncio.get_running_loop().time() + patience
        return asyncio.create_task(self.cache.share("key", patience, deadline, self.make))


@pytest.fixture
async def world() -> World:
    return World()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_equal_requests_are_one_computation(world: World):
    asked = [world.ask() for _ in range(5)]
    await settle()
    world.open.set()
    assert await asyncio.gather(*asked) == [(2, MISS)] + [(2, COALESCED)] * 4
    assert world.counts == {"begun": 1}
    assert world.cache.find("key", world.make) == (2, HIT)


async def test_who_began_it_may_leave_and_the_others_are_served(world: World):
    first, *others = [world.ask() for _ in range(3)]
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    world.open.set()
    assert await asyncio.gather(*others) == [(2, COALESCED)] * 2
    assert world.counts == {"begun": 1}


async def test_when_all_have_left_the_computation_is_cancelled_and_nobody_joins_it(world: World):
    asked = [world.ask() for _ in range(2)]
    await settle()
    for task in asked:
        task.cancel()
    late = world.ask()
    await settle()
    assert world.counts == {"begun": 2, "cancelled": 1}
    world.open.set()
    assert await late == (2, MISS)


async def test_who_waits_leaves_at_the_own_deadline(world: World):
    patient = world.ask(5.0)
    await settle()
    with pytest.raises(TimeoutError):
        await world.ask(0.02)
    world.open.set()
    assert await patient == (2, MISS)


async def test_the_patient_do_not_join_what_ends_too_early(world: World):
    hasty = world.ask(1.0)
    await settle()
    patient = world.ask(2.0)
    await settle()
    joins = world.ask(2.0)
    await settle()
    world.open.set()
    assert [(await task)[1] for task in (hasty, patient, joins)] == [MISS, MISS, COALESCED]
    assert world.counts == {"begun": 2}


async def test_a_failure_reaches_all_and_is_not_kept(world: World):
    async def fail() -> int:
        await world.open.wait()
        raise KeyError("surprise")

    deadline = asyncio.get_running_loop().time() + 5
    asked = [asyncio.create_task(world.cache.share("key", 5.0, deadline, fail)) for _ in range(3)]
    await settle()
    world.open.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [KeyError] * 3
    assert await world.ask() == (2, MISS)


async def test_what_is_not_good_enough_is_not_kept(world: World):
    world.open.set()
    world.made = 1
    assert await world.cache.make("key", world.make) == (3, MISS)
    assert world.cache.find("key", world.make) is None


async def test_a_stale_answer_is_served_while_one_refresh_runs(world: World):
    world.open.set()
    await world.cache.make("key", world.make)
    world.open.clear()
    world.now = 2.5
    assert [world.cache.find("key", world.make) for _ in range(3)] == [(2, STALE)] * 3
    await settle()
    assert world.counts == {"begun": 2}
    world.open.set()
    await settle()
    assert world.cache.find("key", world.make) == (4, HIT)
    world.now = 6.0
    assert world.cache.find("key", world.make) is None


async def test_a_refresh_that_fails_is_logged_and_tried_again(world: World, caplog: pytest.LogCaptureFixture):
    async def fail() -> int:
        raise KeyError("surprise")

    world.open.set()
    await world.cache.make("key", world.make)
    world.now = 2.5
    assert world.cache.find("key", fail) == (2, STALE)
    await settle()
    assert "could not be made anew" in caplog.text
    assert world.cache.find("key", world.make) == (2, STALE)
    await settle()
    assert world.cache.find("key", world.make) == (4, HIT)


async def test_closing_ends_refreshes(world: World):
    world.open.set()
    await world.cache.make("key", world.make)
    world.open.clear()
    world.now = 2.5
    world.cache.find("key", world.make)
    await settle()
    await world.cache.close()
    assert world.counts == {"begun": 2, "cancelled": 1}
