"""How much is done for a request: less where requests come close to their deadlines. Pure, but for the injected clock.

Multiplicative decrease and additive increase (Chiu and Jain, 1989), with a dead band between them: the factor falls
where a percentile of the latency is above its target, and rises where it is well below.
"""

from collections.abc import Callable

import numpy as np

from service.gateway.traffic.settings import QualitySettings
from service.gateway.types import FULL_EFFORT, Effort

INTERVAL_SECONDS = 0.5  # between two decisions, at least; each looks at what came since the last
MIN_SAMPLES = 20  # fewer say nothing of a percentile: more are waited for,
PATIENCE_SECONDS = 2.0  # but no longer than this; the factor then recovers
DECREASE = 0.7
INCREASE = 0.05
CALM = 0.75  # of the target: below it the factor rises, between both it stays
LOWEST = 0.1
LEVELS = 16  # few, because answers of unequal effort share no cache entry
NARROWEST, NO_MODELS = 0.5, 0.2  # factors at which one community is left, and none
FEWEST_CANDIDATES = 0.25
TURNED_AWAY = 2.0  # of its deadline is what such a request counts as
CAPACITY = 2_000  # samples of one interval that count


class QualityFactor:
    """A number in (0, 1] that follows the pressure.

    Args:
        settings: percentile and target.
        clock: seconds, monotonic.
    """

    def __init__(self, settings: QualitySettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._shares: list[float] = []
        self._decided = clock()
        self._effort = FULL_EFFORT
        self.value = 1.0

    def observe(self, share: float) -> None:
        """Take note of a request that took this share of its deadline."""
        if len(self._shares) < CAPACITY:
            self._shares.append(share)

    def turned_away(self) -> None:
        """Take note of a request that was not answered at all: so the fan-out narrows before many are."""
        self.observe(TURNED_AWAY)

    def effort(self) -> Effort:
        """What the next request may cost."""
        now = self._clock()
        waited = now - self._decided
        enough = len(self._shares) >= MIN_SAMPLES or waited >= PATIENCE_SECONDS
        if waited >= INTERVAL_SECONDS and enough and self._settings.enabled:
            self._decided = now
            self._decide(waited / INTERVAL_SECONDS)
            self._effort = effort_at(self.value)
        return self._effort

    def _decide(self, intervals: float) -> None:
        shares, self._shares = self._shares, []
        tail = np.percentile(shares, self._settings.percentile) if len(shares) >= MIN_SAMPLES else 0.0
        if tail > self._settings.target:
            self.value = max(self.value * DECREASE, LOWEST)
        elif tail < self._settings.target * CALM:
            self.value = min(self.value + INCREASE * intervals, 1.0)


def effort_at(quality: float) -> Effort:
    """First the fan-out narrows, then each voter gives fewer candidates, at last no model is asked.

    Args:
        quality: in (0, 1]; 1 is everything.
    """
    level = round(quality * LEVELS) / LEVELS
    if level >= 1.0:
        return FULL_EFFORT
    if level > NARROWEST:
        return Effort(width=(level - NARROWEST) / (1 - NARROWEST))
    if level > NO_MODELS:
        share = (level - NO_MODELS) / (NARROWEST - NO_MODELS)
        return Effort(width=0.0, candidates=FEWEST_CANDIDATES + (1 - FEWEST_CANDIDATES) * share)
    return Effort(width=0.0, candidates=FEWEST_CANDIDATES, models=False)
