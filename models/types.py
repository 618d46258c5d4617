"""The shapes that every offline module shares. This file is the offline architecture.

data → :class:`Sequences` and :class:`Examples` → a :class:`Scorer` or :data:`Score` → ranked lists → metrics.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.contract.types import Floats, Ints

SCORED_AT_ONCE = 512  # rows whose scores of all items are held in memory


@dataclass(frozen=True)
class Sequences:
    """Item numbers of many users, one after the other, each oldest first.

    ``offsets`` is (n + 1,) int64: user u's items are ``items[offsets[u]:offsets[u + 1]]``.
    """

    offsets: NDArray[np.int64]
    items: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Ints:
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: NDArray[np.int64]) -> "Sequences":
        """The sequences of some rows, in that order."""
        return Sequences.of([self[int(row)] for row in rows])

    def keep(self, wanted: NDArray[np.bool_]) -> "Sequences":
        """The same users' sequences of the items for which ``wanted`` (n_items,) is true."""
        kept = wanted[self.items]
        before = np.concatenate([[0], np.cumsum(kept)])
        return Sequences(before[self.offsets].astype(np.int64), self.items[kept])

    @staticmethod
    def of(sequences: list[Ints]) -> "Sequences":
        """From one array per user."""
        lengths = np.asarray([len(s) for s in sequences], dtype=np.int64)
        items = np.concatenate(sequences) if sequences else np.empty(0, np.int32)
        return Sequences(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), items.astype(np.int32))


@dataclass(frozen=True)
class Examples:
    """What is evaluated: for each row a user, what came before, and the item that came next.

    ``users`` (n,) int64 row in the data set's user list; ``histories`` n sequences; ``targets`` (n,) int32.
    """

    users: NDArray[np.int64]
    histories: Sequences
    targets: Ints

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: NDArray[np.int64]) -> "Examples":
        """Some of the examples."""
        return Examples(self.users[rows], self.histories.take(rows), self.targets[rows])

    def sample(self, n: int, seed: int) -> "Examples":
        """At most ``n`` of them, drawn, in their order."""
        if len(self) <= n:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), size=n, replace=False)))


class Scorer(Protocol):
    """A trained model: scores of all items for any histories, known users' or not."""

    def scores(self, histories: Sequences) -> Floats:
        """(n, n_items) float32, higher is better. Seen items are not masked."""
        ...


Report = Callable[[str], None]  # told one line at a time

Score = Callable[[Examples], Floats]
"""(n, n_items) float32 scores for n examples, as a :class:`Scorer`'s. What is evaluated is one of these: a model that
knows its users by row reads ``examples.users``, every other one ``examples.histories``, see :func:`by_history`."""


def by_history(scorer: Scorer) -> Score:
    """The scores of a model that reads histories alone."""
    return lambda examples: scorer.scores(examples.histories)


def chunks_of(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows to score, a bounded number at a time: a matrix of all their scores may not fit into memory."""
    return (rows[at : at + SCORED_AT_ONCE] for at in range(0, len(rows), SCORED_AT_ONCE))
