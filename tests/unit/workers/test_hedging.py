"""The second call: when, who wins, and that nobody is left running."""

import asyncio

import numpy as np
import pytest

from service.workers.hedging import HedgeBudget, LatencyQuantile, hedged


class Calls:
    """Calls that end after some seconds, and what became of them."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.cancelled: list[str] = []

    async def call(self, answer: str, seconds: float) -> str:
        self.started.append(answer)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(answer)
            raise
        return answer


def is_good(answer: str) -> bool:
    return "bad" not in answer


@pytest.mark.parametrize(
    ("first", "second", "winner", "started", "cancelled"),
    [
        (("first", 0.0), ("second", 0.0), "first", ["first"], []),
        (("first", 5.0), ("second", 0.0), "second", ["first", "second"], ["first"]),
        (("first", 0.1), ("second", 5.0), "first", ["first", "second"], ["second"]),
        (("first", 0.1), ("bad second", 0.0), "first", ["first", "bad second"], []),
        (("bad first", 0.1), ("second", 0.2), "second", ["bad first", "second"], []),
        (("bad first", 0.1), ("bad second", 0.0), "bad first", ["bad first", "bad second"], []),
        (("bad first", 0.0), ("second", 0.0), "bad first", ["bad first"], []),  # a failure is no reason to ask again
    ],
)
async def test_first_good_answer_wins(
    first: tuple[str, float], second: tuple[str, float], winner: str, started: list[str], cancelled: list[str]
) -> None:
    calls = Calls()
    assert await hedged(calls.call(*first), lambda: calls.call(*second), 0.02, is_good) == winner
    assert (calls.started, calls.cancelled) == (started, cancelled)


async def test_nobody_else_can_take_it() -> None:
    assert await hedged(Calls().call("first", 0.05), lambda: None, 0.01, is_good) == "first"


async def test_cancelling_cancels_both() -> None:
    calls = Calls()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await hedged(calls.call("first", 5), lambda: calls.call("second", 5), 0.01, is_good)
    assert calls.cancelled == ["first", "second"]


def test_quantile_of_a_stream() -> None:
    rng, latency = np.random.default_rng(0), LatencyQuantile(0.95)
    estimates = []
    for seconds in rng.exponential(0.01, 5000):
        latency.observe(seconds)
        estimates.append(latency.seconds)
    assert np.median(estimates[1000:]) == pytest.approx(0.03, rel=0.15)  # ln 20 times the mean


def test_budget_is_a_share_of_the_calls_and_is_not_saved_without_end() -> None:
    budget = HedgeBudget(share=0.25, most_saved=2.0)
    assert not budget.spend()
    for _ in range(100):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


def test_about_a_twentieth_of_the_calls_is_hedged_and_never_more() -> None:
    """In a simulation, in which all calls get five times as slow, and as quick again."""
    rng, latency, budget = np.random.default_rng(0), LatencyQuantile(), HedgeBudget()
    late, sent = [], []
    for call in range(30_000):
        first, second = rng.lognormal(np.log(0.01), 0.7, 2) * (5 if call // 10_000 == 1 else 1)
        after = latency.seconds
        budget.earn()
        late.append(first > after)
        sent.append(late[-1] and budget.spend())
        end = min(first, after + second) if sent[-1] else first
        if end < first:
            latency.observe(second)
            latency.observe_at_least(end)  # the first has lost
        else:
            latency.observe(first)
            if sent[-1]:
                latency.observe_at_least(end - after)  # the second has
        assert sum(sent[-1000:]) <= 0.05 * 1000 + 10
    assert sum(sent) <= 0.05 * 30_000
    for part in (late[2_000:10_000], late[12_000:20_000], late[22_000:]):
        assert 0.03 < np.mean(part) < 0.07
