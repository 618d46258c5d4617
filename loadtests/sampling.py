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
        raise ValueError(f"users file {path}: {exc}") from exc
    user_ids = [line.strip() for line in lines if line.strip()]
    if not user_ids:
        raise ValueError(f"users file {path}: expected one user id a line, found none")
    return user_ids


class ZipfSampler:
    """Draws users by Zipf's law: the user of rank r (from 1) with a probability proportional to r ** -exponent."""

    def __init__(self, user_ids: Sequence[str], *, exponent: float, seed: int) -> None:
        """Rank is position in ``user_ids``; an exponent of 0 draws evenly. Raises ValueError on unusable values."""
        if not user_ids:
            raise ValueError("user_ids: expected at least one user")
        if exponent < 0:
            raise ValueError(f"exponent: expected 0 or more, got {exponent}")
        self._user_ids = user_ids
        self._cumulative_weights = list(accumulate(rank**-exponent for rank in range(1, len(user_ids) + 1)))
        self._random = random.Random(seed)  # noqa: S311 - a load pattern, not a secret

    def draw(self) -> str:
        """The next user id; takes O(log users)."""
        return self._random.choices(self._user_ids, cum_weights=self._cumulative_weights)[0]
