"""What is batched, what is refused, what is dropped. The model is a function that waits until it is told to go on."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from service.engine.batch_time import BatchTime
from service.engine.batcher import Batcher
from service.engine.errors import DeadlineError, OverloadedError

pytestmark = pytest.mark.engine


class Gated:
    """A model whose batches wait for ``gate``; doubles numbers, and fails on a negative one."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []
        self.observed: list[int] = []

    def run(self, queries: Sequence[int]) -> list[int]:
        self.entered.set()
        assert self.gate.wait(10)
        self.batches.append(list(queries))
        if min(queries) < 0:
            raise ValueError("negative")
        return [2 * query for query in queries]

    def batch_done(self, size: int, seconds: float) -> None:
        assert seconds >= 0
        self.observed.append(size)


class Clock:
    """Stands still until it is put on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def gated() -> Gated:
    return Gated()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def batcher(gated: Gated, clock: Clock) -> AsyncIterator[Batcher[int, int]]:
    batcher: Batcher[int, int] = Batcher(gated.run, max_batch=4, max_queue=6, observer=gated, clock=clock)
    batcher.start()
    yield batcher
    gated.gate.set()
    await batcher.close()


async def busy(batcher: Batcher[int, int], gated: Gated) -> asyncio.Future[int]:
    """Occupy the model with one query."""
    future = batcher.submit(100)
    assert await asyncio.to_thread(gated.entered.wait, 10)
    return future


async def test_what_waits_goes_in_one_batch(batcher: Batcher[int, int], gated: Gated) -> None:
    first = await busy(batcher, gated)
    rest = [batcher.submit(number) for number in range(6)]
    assert len(batcher) == 6
    gated.gate.set()
    assert await asyncio.gather(first, *rest) == [200, 0, 2, 4, 6, 8, 10]
    assert gated.batches == [[100], [0, 1, 2, 3], [4, 5]]
    assert gated.observed == [1, 4, 2]


async def test_full_queue_refuses_at_once_and_recovers(batcher: Batcher[int, int], gated: Gated) -> None:
    first = await busy(batcher, gated)
    rest = [batcher.submit(number) for number in range(6)]
    with pytest.raises(OverloadedError, match="6 requests wait"):
        batcher.submit(7)
    gated.gate.set()
    await asyncio.gather(first, *rest)
    assert await batcher.submit(7) == 14


async def test_cancelled_query_never_reaches_the_model(batcher: Batcher[int, int], gated: Gated) -> None:
    first = await busy(batcher, gated)
    unwanted, wanted = batcher.submit(1), batcher.submit(2)
    unwanted.cancel()
    gated.gate.set()
    assert await asyncio.gather(first, wanted) == [200, 4]
    assert gated.batches == [[100], [2]]


async def test_query_cancelled_while_its_batch_runs_hurts_nobody(batcher: Batcher[int, int], gated: Gated) -> None:
    first = await busy(batcher, gated)
    first.cancel()
    gated.gate.set()
    assert await batcher.submit(3) == 6


async def test_failing_batch_fails_its_own_queries_only(batcher: Batcher[int, int], gated: Gated) -> None:
    gated.gate.set()
    with pytest.raises(ValueError, match="negative"):
        await batcher.submit(-1)
    assert await batcher.submit(1) == 2


async def test_work_between_batches_waits_for_the_running_one(batcher: Batcher[int, int], gated: Gated) -> None:
    first = await busy(batcher, gated)
    seen = asyncio.create_task(batcher.between_batches(lambda: list(gated.batches)))
    await asyncio.sleep(0.01)
    assert not seen.done()
    gated.gate.set()
    assert await seen == [[100]]
    await first


async def test_close_answers_what_waits(gated: Gated) -> None:
    batcher: Batcher[int, int] = Batcher(gated.run, 4, 6, gated)
    batcher.start()
    futures = [await busy(batcher, gated), batcher.submit(1)]
    closing = asyncio.create_task(batcher.close())
    gated.gate.set()
    await closing
    assert [future.result() for future in futures] == [200, 2]


async def test_queries_of_one_request_are_answered_together(batcher: Batcher[int, int], gated: Gated) -> None:
    first = await busy(batcher, gated)
    requests = [batcher.submit_all([1, 2]), batcher.submit_all([3, 4, 5]), batcher.submit(6)]
    gated.gate.set()
    assert await asyncio.gather(first, *requests) == [200, [2, 4], [6, 8, 10], 12]
    assert gated.batches == [[100], [1, 2], [3, 4, 5, 6]]  # four at most, and a request is never split


async def test_request_larger_than_a_batch_has_one_to_itself(batcher: Batcher[int, int], gated: Gated) -> None:
    first = await busy(batcher, gated)
    large, small = batcher.submit_all([1, 2, 3, 4, 5]), batcher.submit(6)
    gated.gate.set()
    assert await asyncio.gather(first, large, small) == [200, [2, 4, 6, 8, 10], 12]
    assert gated.batches == [[100], [1, 2, 3, 4, 5], [6]]


async def test_queue_is_bounded_in_queries(batcher: Batcher[int, int], gated: Gated) -> None:
    first = await busy(batcher, gated)
    waiting = batcher.submit_all([1, 2, 3, 4])
    with pytest.raises(OverloadedError, match="1 requests wait"):
        batcher.submit_all([5, 6, 7])
    fits = batcher.submit_all([5, 6])
    gated.gate.set()
    await asyncio.gather(first, waiting, fits)
    assert await batcher.submit_all([1] * 6) == [2] * 6


async def test_what_is_past_its_deadline_never_reaches_the_model(
    batcher: Batcher[int, int], gated: Gated, clock: Clock
) -> None:
    first = await busy(batcher, gated)
    late, in_time = batcher.submit(1, clock.now + 1), batcher.submit(2, clock.now + 5)
    clock.now += 1
    gated.gate.set()
    assert await in_time == 4
    with pytest.raises(DeadlineError):
        await late
    await first
    assert gated.batches == [[100], [2]]


async def measured(batcher: Batcher[int, int], gated: Gated, seconds: float) -> None:
    """Let the batcher believe that a query takes so long."""
    gated.gate.set()
    await batcher.submit(1)
    batcher._time = BatchTime()
    batcher._time.observe(1, seconds)
    gated.batches.clear()
    gated.entered.clear()
    gated.gate.clear()


async def test_what_cannot_be_ready_in_time_is_dropped_before_it_costs(
    batcher: Batcher[int, int], gated: Gated, clock: Clock
) -> None:
    await measured(batcher, gated, seconds=1.0)
    first = await busy(batcher, gated)
    hopeless, hopeful = batcher.submit(1, clock.now + 0.5), batcher.submit(2, clock.now + 2)
    batcher._time.observe = lambda size, seconds: None  # type: ignore[method-assign]  # the gate's time is no model's
    gated.gate.set()
    assert await hopeful == 4
    with pytest.raises(DeadlineError):
        await hopeless
    await first


async def test_batch_takes_no_more_than_its_nearest_deadline_allows(
    batcher: Batcher[int, int], gated: Gated, clock: Clock
) -> None:
    await measured(batcher, gated, seconds=1.0)
    first = await busy(batcher, gated)
    batcher._time.observe = lambda size, seconds: None  # type: ignore[method-assign]
    hurried, second, third = (
        batcher.submit(number, clock.now + seconds) for number, seconds in ((1, 2.5), (2, 9), (3, 9))
    )
    gated.gate.set()
    assert await asyncio.gather(first, hurried, second, third) == [200, 2, 4, 6]
    assert gated.batches == [[100], [1, 2], [3]]


async def test_estimate_that_lets_nothing_through_gives_way(
    batcher: Batcher[int, int], gated: Gated, clock: Clock
) -> None:
    await measured(batcher, gated, seconds=10.0)
    gated.gate.set()
    for _ in range(50):
        try:
            assert await batcher.submit(1, clock.now + 1) == 2
        except DeadlineError:
            continue
        return
    pytest.fail("every request was dropped")


async def test_estimate_that_drops_all_that_waits_gives_way_too(
    batcher: Batcher[int, int], gated: Gated, clock: Clock
) -> None:
    await measured(batcher, gated, seconds=10.0)
    batcher._time.observe = lambda size, seconds: None  # type: ignore[method-assign]
    gated.gate.set()
    dropped = 0
    for _ in range(50):
        idle, waiting = batcher.submit(1, clock.now + 1), batcher.submit(2, clock.now + 1)
        assert await idle == 2  # what finds the model idle is answered, whatever the estimate says
        try:
            assert await waiting == 4
        except DeadlineError:
            dropped += 1
            continue
        assert dropped > 1
        return
    pytest.fail("every request was dropped")


async def test_one_take_doubts_once_and_only_where_it_took_nothing(
    batcher: Batcher[int, int], gated: Gated, clock: Clock
) -> None:
    await measured(batcher, gated, seconds=1.0)
    batcher._time.observe = lambda size, seconds: None  # type: ignore[method-assign]
    first = await busy(batcher, gated)
    some = [batcher.submit(1, clock.now + 0.5), batcher.submit(2), batcher.submit(3, clock.now + 0.5)]
    gated.gate.set()
    await asyncio.gather(first, *some, return_exceptions=True)
    assert batcher._time.expected(1) == 1.0
    gated.gate.clear()
    gated.entered.clear()
    first = await busy(batcher, gated)
    none = [batcher.submit(number, clock.now + 0.5) for number in range(4)]
    gated.gate.set()
    results = await asyncio.gather(first, *none, return_exceptions=True)
    assert all(isinstance(result, DeadlineError) for result in results[1:])
    assert batcher._time.expected(1) == pytest.approx(0.9)


@pytest.fixture
async def by_rows(gated: Gated, clock: Clock) -> AsyncIterator[Batcher[int, int]]:
    """A number is its own rows."""
    batcher: Batcher[int, int] = Batcher(gated.run, 4, 6, gated, clock, rows=sum, max_rows=50)
    batcher.start()
    yield batcher
    gated.gate.set()
    await batcher.close()


async def test_batch_is_bounded_in_rows_too(by_rows: Batcher[int, int], gated: Gated) -> None:
    first = await busy(by_rows, gated)  # 100 rows: a batch to itself
    rest = [by_rows.submit(number) for number in (20, 30, 1, 60, 50)]
    gated.gate.set()
    await asyncio.gather(first, *rest)
    assert gated.batches == [[100], [20, 30], [1], [60], [50]]


async def test_time_is_expected_by_rows(by_rows: Batcher[int, int], gated: Gated, clock: Clock) -> None:
    gated.gate.set()
    by_rows._time.observe(10, 1.0)
    by_rows._time.observe = lambda size, seconds: None  # type: ignore[method-assign]
    long, short = by_rows.submit(20), by_rows.submit(5, clock.now + 2)
    assert await long == 40
    with pytest.raises(DeadlineError):  # 25 rows would take 2.5 seconds
        await short
    assert await by_rows.submit(5, clock.now + 2) == 10


async def test_queries_have_left_only_when_their_batch_has_ended(batcher: Batcher[int, int], gated: Gated) -> None:
    left: list[int] = []
    first = batcher.submit(100, left=lambda: left.append(100))
    assert await asyncio.to_thread(gated.entered.wait, 10)
    unwanted = batcher.submit(1, left=lambda: left.append(1))
    late = batcher.submit(2, deadline=0.0, left=lambda: left.append(2))
    failing = batcher.submit(-3, left=lambda: left.append(3))
    with pytest.raises(OverloadedError):
        batcher.submit_all([4] * 6, left=lambda: left.append(4))
    first.cancel()  # its batch runs on
    unwanted.cancel()
    await asyncio.sleep(0)
    assert left == [4]
    gated.gate.set()
    await asyncio.gather(first, unwanted, late, failing, return_exceptions=True)
    await batcher.submit(5)
    assert left == [4, 100, 1, 2, 3]


async def test_what_nobody_wants_does_not_fill_the_queue(batcher: Batcher[int, int], gated: Gated) -> None:
    first = await busy(batcher, gated)
    gone, kept = batcher.submit_all([1, 2, 3]), batcher.submit_all([4, 5])
    gone.cancel()
    rest = batcher.submit_all([6, 7])
    gated.gate.set()
    assert await asyncio.gather(first, kept, rest) == [200, [8, 10], [12, 14]]
