"""How long the last calls took."""

from collections import deque

import numpy as np

from service.workers.types import Latency

CALLS_KEPT = 256


class Latencies:
    """Remembers the last calls of one replica, those that failed included."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=CALLS_KEPT)

    def note(self, seconds: float) -> None:
        """A call ended."""
        self._seconds.append(seconds)

    def summary(self) -> Latency:
        """What there is to say of them."""
        if not self._seconds:
            return Latency()
        p50, p95 = (np.percentile(self._seconds, [50, 95]) * 1e3).round(3).tolist()
        return Latency(p50, p95, len(self._seconds))
