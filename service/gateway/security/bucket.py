"""How often: a token bucket."""

from collections.abc import Callable


class TokenBucket:
    """Fills at a steady rate up to its size; a request takes one token.

    Args:
        rate_per_s: tokens a second.
        burst: tokens that it holds; full at the start.
        clock: seconds; never steps back.
    """

    __slots__ = ("_clock", "_filled_at", "_tokens", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float, clock: Callable[[], float]) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._clock = clock
        self._tokens = burst
        self._filled_at = clock()

    def take(self) -> float:
        """Take a token: 0.0. Where there is none: the seconds until there will be one."""
        now = self._clock()
        self._tokens = min(self.burst, self._tokens + (now - self._filled_at) * self.rate_per_s)
        self._filled_at = now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self.rate_per_s
        self._tokens -= 1.0
        return 0.0

    def owe(self, tokens: int) -> None:
        """Take tokens that may not be there yet: who comes next waits for them."""
        self._tokens -= tokens
