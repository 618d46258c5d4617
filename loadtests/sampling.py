"""Which user asks next: a few ask often, most ask seldom."""

import random
from collections.abc import Sequence
from itertools import accumulate


class ZipfSampler:
    """Draws ids by Zipf's law: that of rank r (from 1) with a probability proportional to r ** -exponent."""

    def __init__(self, ids: Sequence[str], exponent: float) -> None:
        """Rank is position in ``ids``; an exponent of 0 draws evenly. Raises ValueError on unusable values."""
        if not ids:
            raise ValueError("ids: expected at least one")
        if exponent < 0:
            raise ValueError(f"exponent: expected 0 or more, got {exponent}")
        self._ids = ids
        self._cumulative_weights = list(accumulate(rank**-exponent for rank in range(1, len(ids) + 1)))

    def draw(self, rng: random.Random) -> str:
        """The next id; takes O(log ids)."""
        return self.sample(rng, 1)[0]

    def sample(self, rng: random.Random, count: int) -> list[str]:
        """So many ids, which may be the same."""
        return rng.choices(self._ids, cum_weights=self._cumulative_weights, k=count)
