"""How ranked items are arranged: less alike, not too many of a kind, not the same ones again. Pure.

An item's *relevance* is its place in the pool: 1 for the first of m, falling evenly to 1/m for the last. Places, and
not min-max scores, because one pool holds scores of several scales (fused votes, inner products, counts), and because
fused scores fall so steeply that the first item would decide what a difference means to all others. An item that was
shown t times lately and not acted upon keeps (1 - discount)^t of its relevance.

Then the items are picked one by one, by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998):

    argmax over i not in S of  λ · relevance(i) - (1 - λ) · max over j in S of cos(i, j),      λ = 1 - diversity

of equal ones the first in the pool, and only of those whose capped values are not used up. Caps are met greedily: a
list may end although another choice, of items with several values each, would have been longer.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from models.contract.types import Array, Floats, Ints

Kind = tuple[str, str]
"""A value of an attribute: name and value."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What is asked of a list.

    Args:
        diversity: 1 - λ, from 0 to 1.
        max_per: items of one value of an attribute at most, by the attribute's name.
        discount: share of its relevance that an item loses each time it is shown in vain.
        window_seconds: for how long a showing counts.
    """

    diversity: float = 0.0
    max_per: Mapping[str, int] = field(default_factory=dict)
    discount: float = 0.0
    window_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Traits:
    """What matters of a pool's m items, in the pool's order.

    Args:
        vectors: (m, d) of unit length; d = 0 where diversity is not asked for.
        kinds: the values of each item that are capped.
        shown: (m,) how many times each was shown lately and not acted upon.
    """

    vectors: Floats
    kinds: Sequence[tuple[Kind, ...]]
    shown: Ints


def arrange(wanted: Arrangement, traits: Traits, n: int) -> list[int]:
    """Positions in the pool of the at most ``n`` items that are served, in the order in which they are."""
    m = len(traits.shown)
    relevance = (1 - np.arange(m) / max(m, 1)) * (1 - wanted.discount) ** traits.shown
    if not wanted.diversity and not wanted.max_per:
        order: list[int] = np.argsort(-relevance, kind="stable")[:n].tolist()
        return order
    return list(islice(_picks(relevance, wanted, traits), n))


def _picks(relevance: Array, wanted: Arrangement, traits: Traits) -> Iterator[int]:
    """Positions in the order of maximal marginal relevance, until caps leave none."""
    if not len(relevance):
        return
    caps = _Caps(traits.kinds if wanted.max_per else [()] * len(relevance), wanted.max_per)
    vectors = traits.vectors * np.float32(np.sqrt(wanted.diversity))  # products are likenesses times 1 - λ
    worth = (1 - wanted.diversity) * relevance
    penalty = np.full(len(relevance), -np.inf, np.float32)
    marginal = np.empty_like(worth)
    best = int(relevance.argmax())
    while True:
        yield best
        worth[best] = -np.inf
        if closed := caps.closed_by(best):
            worth[closed] = -np.inf
        np.maximum(penalty, vectors.dot(vectors[best]), out=penalty)
        np.subtract(worth, penalty, out=marginal)
        best = int(marginal.argmax())
        if marginal[best] == -np.inf:
            return


class _Caps:
    """Counts down how many items of each value may still be picked."""

    def __init__(self, kinds: Sequence[tuple[Kind, ...]], max_per: Mapping[str, int]) -> None:
        self._kinds = kinds
        self._members: dict[Kind, list[int]] = defaultdict(list)
        for position, own in enumerate(kinds):
            for kind in own:
                self._members[kind].append(position)
        self._left = {kind: max_per[kind[0]] for kind in self._members}

    def closed_by(self, position: int) -> list[int]:
        """Positions that may not be picked any more, once the one at ``position`` was."""
        closed = []
        for kind in self._kinds[position]:
            self._left[kind] -= 1
            if not self._left[kind]:
                closed += self._members[kind]
        return closed
