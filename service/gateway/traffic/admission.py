"""Who is let in, decided before a byte of the body is read: what a refusal costs decides how many others are served."""

import asyncio
from collections.abc import Callable
from enum import StrEnum

from service.gateway.errors import overloaded
from service.gateway.traffic.limiter import GradientLimit

BEAT_SECONDS = 0.05
FADING = 0.8  # of a lateness, each beat: one that comes and goes is noticed


class Priority(StrEnum):
    """Classes of requests: people who wait come before batches."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Admission:
    """Counts who is inside.

    Args:
        limit: how many may be inside.
        batch_share: the part of it that batches may use.
        shed: told of the class of each request that is turned away.
    """

    def __init__(self, limit: GradientLimit, batch_share: float, shed: Callable[[Priority], None]) -> None:
        self._limit = limit
        self._batch_share = batch_share
        self._shed = shed
        self._batches = 0
        self.in_flight = 0
        self.late_seconds = 0.0

    @property
    def limit(self) -> int:
        """Requests that may be inside now."""
        return int(self._limit.value)

    def turns_away(self, batch: bool) -> bool:
        """Whether one more has to be turned away; it is then counted as such."""
        most = self._limit.value
        if self.in_flight < most and not (batch and self._batches >= max(1.0, most * self._batch_share)):
            return False
        self._shed(Priority.BATCH if batch else Priority.INTERACTIVE)
        return True

    def enter(self, weight: int, batch: bool) -> None:
        """Let one in that is as much work as ``weight`` requests; it has to :meth:`leave`.

        Raises:
            ApiError: there is room for none. Where there is for one, the weight may go beyond it.
        """
        if self.turns_away(batch):
            raise overloaded()
        self.in_flight += weight
        self._batches += weight if batch else 0
        self._limit.entered(self.in_flight)

    def leave(self, weight: int, batch: bool) -> None:
        """What was let in goes."""
        self.in_flight -= weight
        self._batches -= weight if batch else 0

    def observe(self, seconds: float) -> None:
        """A request was answered; ``seconds`` of it were our own."""
        self._limit.observe(seconds)

    async def beat(self) -> None:
        """Wait a little, see how late the event loop comes back, and let the limit follow."""
        clock = asyncio.get_running_loop().time
        due = clock() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        self.late_seconds = max(clock() - due, self.late_seconds * FADING)
        self._limit.update(self.late_seconds)
