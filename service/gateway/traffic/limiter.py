"""How many requests are answered at one time: a limit that finds itself. Pure.

The gradient limit of Netflix's concurrency-limits (``Gradient2Limit``, Apache-2.0), written anew: the long-term latency
divided by the short-term one is how far the limit should shrink, and sqrt(limit) more may queue. Otherwise than there:

- The latency is the process's own: time spent waiting for workers is not in it, because a slow model is no reason to
  turn a caller away; the lateness of the event loop is, because requests in sockets wait unseen.
- A latency that is a small share of the deadline is no pressure, whatever it was before.
- A latency that is a large share of the deadline is, however long it has been so: the long-term latency drifts.
"""

from math import sqrt

from service.gateway.traffic.settings import LimitSettings

INITIAL = 32.0
TOLERANCE = 1.5  # of the long-term latency: no pressure
SMOOTHING = 0.2
LONG_WINDOWS = 600.0  # of the exponential average
WARM_UP_WINDOWS = 10
DRIFT_DECAY = 0.95  # of a long-term latency that is more than twice the present one
MIN_SAMPLES = 10  # of a window
SMALL, LARGE = 0.2, 0.35  # of the deadline


class GradientLimit:
    """The limit, and the latencies that it follows.

    Args:
        settings: its bounds.
        deadline_seconds: of a usual request.
    """

    def __init__(self, settings: LimitSettings, deadline_seconds: float) -> None:
        self._settings = settings
        self._small, self._large = SMALL * deadline_seconds, LARGE * deadline_seconds
        self._long, self._windows = 0.0, 0
        self._sum, self._count, self._peak = 0.0, 0, 0
        self.value = self._bounded(INITIAL)

    def entered(self, in_flight: int) -> None:
        """A request was let in, and so many are now being answered."""
        self._peak = max(self._peak, in_flight)

    def observe(self, seconds: float) -> None:
        """A request was answered; ``seconds`` of it were our own."""
        self._sum += seconds
        self._count += 1

    def update(self, late_seconds: float) -> None:
        """Let the limit follow what was observed since the last time that enough was.

        Args:
            late_seconds: how late the event loop is.
        """
        if self._count < MIN_SAMPLES and late_seconds <= self._large:
            return
        short = (self._sum / self._count if self._count else 0.0) + late_seconds
        self._remember(short)
        idle = self._peak < self.value / 2  # nobody would have noticed another limit
        self._sum, self._count, self._peak = 0.0, 0, 0
        if not idle or short > self._large:
            wanted = self.value * self._gradient(short) + sqrt(self.value)
            self.value = self._bounded(self.value * (1 - SMOOTHING) + wanted * SMOOTHING)

    def _gradient(self, short: float) -> float:
        usual = TOLERANCE * max(self._long, self._small)
        return max(0.5, min(1.0, usual / max(short, 1e-9), self._large / max(short, 1e-9)))

    def _remember(self, short: float) -> None:
        self._windows += 1
        weight = 1 / self._windows if self._windows <= WARM_UP_WINDOWS else 2 / (LONG_WINDOWS + 1)
        self._long += weight * (short - self._long)
        if self._long > 2 * short:
            self._long *= DRIFT_DECAY

    def _bounded(self, limit: float) -> float:
        return min(max(limit, float(self._settings.min)), float(self._settings.max))
