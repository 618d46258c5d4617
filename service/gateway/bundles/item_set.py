"""Some of a catalogue's items."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.contract.types import Array, Ints


@dataclass(frozen=True)
class ItemSet:
    """Items as a mask. Read only: requests share it.

    Args:
        mask: (n_items,) bool, whether an item is in the set.
    """

    mask: Array

    @cached_property
    def size(self) -> int:
        """How many items are in the set."""
        return int(np.count_nonzero(self.mask))

    def without(self, items: Ints) -> "ItemSet":
        """The set without some items."""
        if not len(items):
            return self
        mask = self.mask.copy()
        mask[items] = False
        return ItemSet(mask)

    def within(self, other: "ItemSet") -> "ItemSet":
        """The items that are in another set, too."""
        return ItemSet(self.mask & other.mask)

    def numbers(self) -> Ints:
        """Numbers of the items in the set."""
        return np.flatnonzero(self.mask).astype(np.int32)

    def others(self) -> Ints:
        """Numbers of the items that are not in the set."""
        return np.flatnonzero(~self.mask).astype(np.int32)
