"""What an anchor would bring, for many candidates and users at once: users newly covered, and distance saved."""

import numpy as np
from numpy.typing import NDArray

from models.contract.affinity import LARGEST_DISTANCE, arccos_distance, smallest_cosine, unit
from models.contract.types import Array, Floats

COSINES_AT_ONCE = 2**23  # 32 MB of float32
WORDS_AT_ONCE = 2**20  # 8 MB of uint64

_WORD_BITS = 64


class Coverage:
    """Users that each candidate covers, one bit a pair, and those whom no anchor covers so far.

    Args:
        candidates: (c, d) embeddings of those who may become anchors.
        users: (n, d) embeddings of all users.
        bandwidth: distance below which a user is covered.
    """

    def __init__(self, candidates: Floats, users: Floats, bandwidth: float) -> None:
        self._bits = _pack(unit(candidates), users, smallest_cosine(bandwidth))  # (c, ceil(n / 64)) uint64
        self._uncovered = np.full(self._bits.shape[1], np.iinfo(np.uint64).max, np.uint64)

    def gains(self) -> NDArray[np.int64]:
        """(c,) users that each candidate would cover and no anchor does."""
        gains = np.empty(len(self._bits), np.int64)
        block = max(1, WORDS_AT_ONCE // self._bits.shape[1])
        for at in range(0, len(gains), block):
            new = self._bits[at : at + block] & self._uncovered
            gains[at : at + block] = np.bitwise_count(new).sum(axis=1, dtype=np.int64)
        return gains

    def add(self, candidate: int) -> None:
        """Make a candidate an anchor."""
        self._uncovered &= ~self._bits[candidate]


class Approach:
    """How far users are from their nearest anchor, and how far they would be.

    Args:
        candidates: (c, d) embeddings of those who may become anchors.
        users: (m, d) embeddings of the users who count.
    """

    def __init__(self, candidates: Floats, users: Floats) -> None:
        self._distances = arccos_distance(users, candidates)  # (c, m): the distance is symmetric
        self._nearest = np.full(len(users), LARGEST_DISTANCE, np.float32)

    def gains(self, candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        """For some candidates, the sum over the users of the distance that each would save them."""
        saved = self._nearest - self._distances[candidates]
        np.maximum(saved, 0.0, out=saved)
        return np.asarray(saved.sum(axis=1, dtype=np.float64))

    def add(self, candidate: int) -> None:
        """Make a candidate an anchor."""
        np.minimum(self._nearest, self._distances[candidate], out=self._nearest)


def _pack(candidates: Floats, users: Floats, threshold: float) -> Array:
    """Bits of cosine > threshold, (c, ceil(n / 64)) uint64; bits beyond the last user are 0. In blocks of users."""
    words = -(-len(users) // _WORD_BITS)
    packed = np.zeros((len(candidates), 8 * words), np.uint8)
    block = max(8, COSINES_AT_ONCE // len(candidates) // 8 * 8)  # whole bytes
    for at in range(0, len(users), block):
        some = users[at : at + block]
        covered = candidates @ unit(some).T > threshold
        covered[:, ~some.any(axis=1)] = False  # who has no direction is near nobody, see arccos_distance
        bits = np.packbits(covered, axis=1)
        packed[:, at // 8 : at // 8 + bits.shape[1]] = bits
    packed[~candidates.any(axis=1)] = 0
    return packed.view(np.uint64)
