"""Popularity, recency-weighted: the last fallback in serving and the first baseline in evaluation, one and the same."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.config import option
from models.contract.errors import ConfigError
from models.contract.types import Floats, Ints
from models.types import Sequences

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class PopularityConfig:
    """How popularity is counted."""

    half_life_days: float = option(
        30.0,
        "Age at which an interaction counts half, days",
        low=0.001,
        search=(3.0, 7.0, 14.0, 30.0, 90.0, 180.0, 365.0, 1e6),
    )


@dataclass(frozen=True)
class PopularityScorer:
    """Scores every user alike. ``popularity`` is (n_items,) float32."""

    popularity: Floats

    def scores(self, histories: Sequences) -> Floats:
        """See :class:`models.types.Scorer`."""
        return np.tile(self.popularity, (len(histories), 1))


def recency_popularity(items: Ints, timestamps: NDArray[np.int64], n_items: int, half_life_days: float) -> Floats:
    """Interaction counts in which an interaction weighs half as much for every half-life of its age.

    Args:
        items: (n,) item number of each interaction.
        timestamps: (n,) seconds since 1970. Age is counted from the latest one, so that the same data give the same
            result on any day; data without times (all 0) give plain counts.
        n_items: size of the catalogue.
        half_life_days: at least a fraction of a second; infinity gives plain counts.

    Returns:
        (n_items,) float32, 0 for an item that nobody met.

    Raises:
        ConfigError: the half-life is not positive.
    """
    if not half_life_days > 0:
        raise ConfigError(f"half_life_days: {half_life_days} is out of range; expected a positive number of days")
    age_days = (timestamps.max(initial=0) - timestamps) / SECONDS_PER_DAY
    return np.bincount(items, weights=np.exp2(-age_days / half_life_days), minlength=n_items).astype(np.float32)
