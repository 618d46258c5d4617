"""A token bucket on a clock that the test turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gateway.security.bucket import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_burst_is_let_through_then_the_rate():
    clock = Clock()
    bucket = TokenBucket(rate_per_s=2.0, burst=3.0, clock=clock)
    assert [bucket.take() for _ in range(3)] == [0.0] * 3
    assert bucket.take() == pytest.approx(0.5)
    clock.now += 0.25
    assert bucket.take() == pytest.approx(0.25)
    clock.now += 0.25
    assert bucket.take() == 0.0


def test_rest_fills_no_more_than_the_burst():
    clock = Clock()
    bucket = TokenBucket(10.0, 2.0, clock)
    clock.now += 3_600
    assert [bucket.take() == 0.0 for _ in range(4)] == [True, True, False, False]


@given(st.floats(0.1, 1_000), st.integers(1, 50), st.lists(st.floats(0, 2), max_size=200))
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, steps: list[float]):
    clock = Clock()
    bucket = TokenBucket(rate, burst, clock)
    passed = 0
    for step in steps:
        clock.now += step
        passed += bucket.take() == 0.0
        assert passed <= burst + rate * (clock.now - 1_000.0) + 1e-6


def test_what_is_owed_is_waited_for():
    clock = Clock()
    bucket = TokenBucket(rate_per_s=2.0, burst=3.0, clock=clock)
    assert bucket.take() == 0.0
    bucket.owe(4)
    assert bucket.take() == pytest.approx(1.5)
    clock.now += 1.5
    assert bucket.take() == 0.0
