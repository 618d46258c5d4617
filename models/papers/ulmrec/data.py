"""What ULMRec is tuned on: users, their indices and texts, and the candidates that a retriever found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.contract.types import Floats, Ints
from models.data.dataset import Dataset
from models.papers.ulmrec.index import UserIndex
from models.papers.ulmrec.texts import Preferences


@dataclass(frozen=True)
class Candidates:
    """What a retriever found for some examples of a split, the best first, never shuffled (LlamaRec's protocol).

    Args:
        rows: (k,) places in the split's examples, of those alone whose target is among their items.
        items: (k, m) item numbers; ``NO_ITEM`` (-1) fills up a row where fewer were found.
    """

    rows: NDArray[np.int64]
    items: Ints

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class RankingData:
    """What a ranker is tuned on.

    Args:
        dataset: its train part makes prompts, its validation examples say when to stop.
        index: of its users, by row; None where a configuration asks for no personal index.
        preferences: of its users; without texts altogether: nobody has any.
        valid: candidates of validation examples.
        retrieved: (n_users, r) items that a retriever found for each user's train part, ``NO_ITEM`` filling up a row,
            for ``negatives = "retrieved"``.
        ratings: (n_train,) aligned with ``dataset.train.items``, NaN where unknown; None: there are none.
    """

    dataset: Dataset
    index: UserIndex | None
    preferences: Preferences
    valid: Candidates
    retrieved: Ints | None = None
    ratings: Floats | None = None
