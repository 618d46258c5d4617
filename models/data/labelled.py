"""Labelled user-item pairs, as CoLLM is trained and measured on them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.contract.catalogue import Catalogue
from models.contract.types import Ints
from models.types import Sequences


@dataclass(frozen=True)
class LabelledPairs:
    """Pairs of one split, in the order of time.

    Args:
        users: (n,) int64 rows.
        items: (n,) int32 item numbers.
        labels: (n,) int8, 1 where the user liked the item.
        histories: n sequences: what the user had liked before, oldest first, across splits.
    """

    users: NDArray[np.int64]
    items: Ints
    labels: NDArray[np.int8]
    histories: Sequences

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class LabelledData:
    """Users, items, and the pairs of each split; ``user_ids`` and ``catalogue`` say what rows and numbers stand for."""

    user_ids: tuple[str, ...]
    catalogue: Catalogue
    train: LabelledPairs
    valid: LabelledPairs
    test: LabelledPairs
