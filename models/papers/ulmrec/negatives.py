"""Candidates of training prompts: the target among items that the user has not met.

LlamaRec draws them from all items and shuffles them, and then ranks what a retriever found, in its order, of which
nothing has been learned. Both can be had as the ranker will meet it (an addition): items that the retriever finds, in
its order, the target at each place as often as the retriever puts validation targets there. That the target is where
the retriever would put it cannot be had from the retriever itself, which was trained on the very target.
"""

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
        retrieved: (n_users, r) items to draw from first, best first, ``NO_ITEM`` filling up a row; None: from all.
        places: (n,) how often the target is at each place, and the others are in the retriever's order; None: shuffled.
    """

    train: Sequences
    n_items: int
    n: int
    retrieved: Ints | None
    places: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, data: RankingData, config: ULMRecConfig) -> Self:
        """Raises ConfigError where retrieved ones are asked for and not given."""
        if config.negatives == "retrieved" and data.retrieved is None:
            raise ConfigError("ulmrec.negatives: 'retrieved', but no retriever's lists are given; expected 'random'")
        retrieved = data.retrieved if config.negatives == "retrieved" else None
        places = target_places(data, config.candidates) if config.order == "retrieved" else None
        return cls(data.dataset.train, len(data.dataset.catalogue), config.candidates, retrieved, places)

    def candidates(self, user: int, target: int, rng: np.random.Generator) -> tuple[Ints, int]:
        """(m,) items, m at most ``n``, and the target's place among them."""
        met = self.train[user]
        near = self._near(user, met)
        near = near[: self.n - 1] if self.places is not None else near[rng.permutation(len(near))[: self.n - 1]]
        free = np.ones(self.n_items, np.bool_)
        free[met] = free[near] = free[target] = False
        others = np.flatnonzero(free)
        far = others[rng.choice(len(others), min(self.n - 1 - len(near), len(others)), replace=False)]
        items = np.concatenate([near, far])
        if self.places is None:
            items, place = rng.permutation(items), int(rng.integers(len(items) + 1))
        else:
            place = min(int(rng.choice(self.n, p=self.places)), len(items))
        return item_numbers(np.insert(items, place, target)), place

    def _near(self, user: int, met: Ints) -> NDArray[np.int64]:
        if self.retrieved is None:
            return np.empty(0, np.int64)
        found = self.retrieved[user]
        return np.asarray(found[(found != NO_ITEM) & ~np.isin(found, met)], np.int64)


def target_places(data: RankingData, n: int) -> NDArray[np.float64]:
    """(n,) share of the validation targets at each place of the retriever's lists; no place has none."""
    examples = data.dataset.examples("valid")
    places = np.nonzero(data.valid.items[:, :n] == examples.targets[data.valid.rows, None])[1]
    counts = np.bincount(places, minlength=n) + 1.0
    return np.asarray(counts / counts.sum(), np.float64)
