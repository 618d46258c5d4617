"""Which user asks next: a few ask often, most ask seldom."""

import random
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path


def read_user_ids(path: Path) -> list[str]:
    """User ids of a text file, one a line, the most active first; empty lines are skipped.

    Raises ValueError where the file cannot be read or names no user.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"users file {path}: {exc}; expected a text file, one user id a line") from exc
    user_ids = [line.strip() for line in lines if line.strip()]
    if not user_ids:
        raise ValueError(f"users file {path}: expected one user id a line, found none")
    return user_ids


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
