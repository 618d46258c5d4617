"""Candidates of training prompts: the target among items that the user has not met, in random order (LlamaRec)."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.contract.errors import ConfigError
from models.contract.types import Ints, item_numbers
from models.evaluation.metrics import NO_ITEM
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.data import RankingData
from models.types import Sequences


@dataclass(frozen=True)
class Negatives:
    """Draws candidates.

    Args:
        train: what users have met.
        n_items: of the catalogue.
        n: candidates of a prompt, the target included; fewer where the user has met nearly everything.
        retrieved: (n_users, r) items to draw from first, ``NO_ITEM`` filling up a row; None: from all.
    """

    train: Sequences
    n_items: int
    n: int
    retrieved: Ints | None

    @classmethod
    def of(cls, data: RankingData, config: ULMRecConfig) -> Self:
        """Raises ConfigError where retrieved ones are asked for and not given."""
        if config.negatives == "retrieved" and data.retrieved is None:
            raise ConfigError("ulmrec.negatives: 'retrieved', but no retriever's lists are given; expected 'random'")
        retrieved = data.retrieved if config.negatives == "retrieved" else None
        return cls(data.dataset.train, len(data.dataset.catalogue), config.candidates, retrieved)

    def candidates(self, user: int, target: int, rng: np.random.Generator) -> tuple[Ints, int]:
        """(m,) items, m at most ``n``, and the target's place among them."""
        met = self.train[user]
        near = self._near(user, met)
        near = near[rng.permutation(len(near))[: self.n - 1]]
        free = np.ones(self.n_items, np.bool_)
        free[met] = free[near] = free[target] = False
        others = np.flatnonzero(free)
        far = others[rng.choice(len(others), min(self.n - 1 - len(near), len(others)), replace=False)]
        items = np.concatenate([[target], near, far])
        order = rng.permutation(len(items))
        return item_numbers(items[order]), int(np.flatnonzero(order == 0)[0])

    def _near(self, user: int, met: Ints) -> NDArray[np.int64]:
        if self.retrieved is None:
            return np.empty(0, np.int64)
        found = self.retrieved[user]
        return found[(found != NO_ITEM) & ~np.isin(found, met)].astype(np.int64)
