"""Circuit breaker of one replica: a worker that keeps failing is left alone for a while.

closed ──(N failures in a row)──▶ open ──(cool-down over)──▶ half-open ──(one trial: ok)──▶ closed
                                   ▲────────────────────────(one trial: failed)─┘
"""

from collections.abc import Callable
from enum import StrEnum
from math import inf


class BreakerState(StrEnum):
    """The three states."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """State machine with an injected clock. Every acquired call ends in exactly one of the three verdicts.

    A call's token says since which change of state it runs. That a call failed which began before the last one, is old
    news; that it succeeded is not.

    Args:
        failures_to_open: failures in a row that open the breaker.
        cooldown_seconds: how long it stays open before one trial.
        clock: seconds, monotonic.
    """

    def __init__(self, failures_to_open: int, cooldown_seconds: float, clock: Callable[[], float]) -> None:
        self._failures_to_open = failures_to_open
        self._cooldown_seconds = cooldown_seconds
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._trial_running = False
        self._generation = 1
        self._answered_at = -inf

    @property
    def state(self) -> BreakerState:
        if self._opened_at is None:
            return BreakerState.CLOSED
        cooling = self._clock() - self._opened_at < self._cooldown_seconds
        return BreakerState.OPEN if cooling else BreakerState.HALF_OPEN

    @property
    def admits(self) -> bool:
        """Whether a call may be made now. Half-open admits one at a time."""
        state = self.state
        return state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and not self._trial_running)

    def acquire(self) -> int | None:
        """The token of a call, which must come to a verdict; None where it must not be made."""
        if not self.admits:
            return None
        if self.state is BreakerState.HALF_OPEN:
            self._trial_running = True
            self._generation += 1
        return self._generation

    def answered_since(self, instant: float) -> bool:
        """Whether the replica has answered any call since then: one that was late meanwhile says nothing of it."""
        return self._answered_at >= instant

    def succeeded(self) -> None:
        """The replica answered: close."""
        self._answered_at = self._clock()
        if self._opened_at is not None:
            self._generation += 1
        self._failures = 0
        self._opened_at = None
        self._trial_running = False

    def failed(self, token: int) -> None:
        """The replica failed: open after the last allowed failure, and again after a failed trial."""
        if token != self._generation:
            return
        self._failures += 1
        if self._trial_running or self._failures >= self._failures_to_open:
            self._opened_at = self._clock()
            self._generation += 1
        self._trial_running = False

    def undecided(self, token: int) -> None:
        """The call ended without a verdict on the replica (its client left, it was given no time)."""
        if token == self._generation:
            self._trial_running = False
