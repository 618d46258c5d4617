"""The breaker's states, by a clock that the test turns."""

import pytest

from service.workers.breaker import Breaker, BreakerState


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failures_to_open=3, cooldown_seconds=10, clock=clock)


def token_of(breaker: Breaker) -> int:
    token = breaker.acquire()
    assert token is not None
    return token


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed(token_of(breaker))


def test_opens_after_failures_in_a_row(breaker: Breaker):
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.acquire()


def test_half_open_admits_one_trial(breaker: Breaker, clock: Clock):
    fail(breaker, 3)
    clock.now += 10
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.acquire()
    assert not breaker.acquire()
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


def test_failed_trial_opens_again_for_a_whole_cooldown(breaker: Breaker, clock: Clock):
    fail(breaker, 3)
    clock.now += 10
    fail(breaker, 1)
    clock.now += 9.9
    assert not breaker.acquire()
    clock.now += 0.1
    assert breaker.acquire()


def test_trial_without_verdict_lets_another_try(breaker: Breaker, clock: Clock):
    fail(breaker, 3)
    clock.now += 10
    breaker.undecided(token_of(breaker))
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.acquire()


def test_knows_whether_it_was_answered_since(breaker: Breaker, clock: Clock):
    assert not breaker.answered_since(0.0)
    breaker.succeeded()
    assert breaker.answered_since(clock.now)
    assert not breaker.answered_since(clock.now + 0.1)


def test_late_success_of_an_earlier_call_closes(breaker: Breaker):
    fail(breaker, 3)
    breaker.succeeded()
    assert breaker.acquire()


def test_failure_of_a_call_that_began_before_the_last_change_is_ignored(breaker: Breaker, clock: Clock):
    old = [token_of(breaker) for _ in range(4)]
    fail(breaker, 3)
    clock.now += 9
    breaker.failed(old[0])  # does not begin the cool-down anew
    clock.now += 1
    trial = token_of(breaker)
    breaker.failed(old[1])
    breaker.undecided(old[2])
    assert not breaker.acquire()  # the trial still runs
    breaker.succeeded()
    for token in (old[3], trial, trial):
        breaker.failed(token)
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


def test_trial_that_fails_after_a_late_success_does_not_count(breaker: Breaker, clock: Clock):
    fail(breaker, 3)
    clock.now += 10
    trial = token_of(breaker)
    breaker.succeeded()
    breaker.failed(trial)
    assert breaker.state is BreakerState.CLOSED
