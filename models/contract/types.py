"""The nouns that cross between the offline half and the service.

An *item id* (``str``) is the product's own; an *item number* (``int``) is the row of the item in one bundle.
Users exist by id only. Arrays of item numbers are ``int32``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NewType

import numpy as np
from numpy.typing import NDArray

ItemId = NewType("ItemId", str)

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Array = NDArray[Any]


class Membership(NamedTuple):
    """A user's place in one community: affinity under the CF space (equation 2), and a weight learned for the LLM."""

    community: int
    cf_weight: float
    llm_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What is cached per user and bundle. ``embedding`` is (d,) float32; memberships come nearest community first.

    ``digest`` tells the stored history that it was made from, ``models.contract.redis_schema.history_digest``; None:
    not known, as in what was published before there were digests.
    """

    embedding: Floats
    memberships: tuple[Membership, ...]
    digest: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One interaction of a user, by item id, at ``timestamp`` (seconds since 1970, 0 where unknown)."""

    item_id: ItemId
    timestamp: int


@dataclass(frozen=True, slots=True)
class RankedList:
    """Items best first: ``items`` (n,) int32 item numbers, ``scores`` (n,) float32, higher is better."""

    items: Ints
    scores: Floats

    def __len__(self) -> int:
        return len(self.items)


def by_score(items: Ints, scores: Floats) -> RankedList:
    """Items (m,), the best score first, equal ones by item number."""
    order = np.lexsort((items, -scores))
    return RankedList(items[order], scores[order])


def item_numbers(values: Sequence[int] | Array) -> Ints:
    """The values as an array of item numbers."""
    return np.asarray(values, dtype=np.int32)
