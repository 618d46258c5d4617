"""How long the last calls took."""

import pytest

from service.workers.latencies import CALLS_KEPT, Latencies
from service.workers.types import Latency


def test_before_the_first_call_there_is_nothing_to_say() -> None:
    assert Latencies().summary() == Latency(None, None, 0)


def test_percentiles_are_of_the_last_calls_in_milliseconds() -> None:
    latencies = Latencies()
    for seconds in [9.0] * 10 + [n / 1e3 for n in range(1, CALLS_KEPT + 1)]:
        latencies.note(seconds)
    summary = latencies.summary()
    assert summary.n == CALLS_KEPT
    assert summary.p50 == pytest.approx((CALLS_KEPT + 1) / 2)
    assert summary.p95 == pytest.approx(1 + 0.95 * (CALLS_KEPT - 1), abs=0.01)
