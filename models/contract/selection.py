"""From the communities' lists to the list that is served. The offline evaluation ranks with this very function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.contract.fusion import FusionMethod, fuse, list_weights
from models.contract.types import Floats, Ints, Membership, RankedList


@dataclass(frozen=True, slots=True)
class FusionSettings:
    """How lists become one: method, damping constant ``k`` of equations 5 and 6, and items asked of each community."""

    method: FusionMethod = FusionMethod.RRF
    k: float = 0.0
    candidates: int = 100


@dataclass(frozen=True, slots=True)
class Voter:
    """One community's answer: the list it gave, and the user's membership in it."""

    membership: Membership
    ranking: RankedList


@dataclass(frozen=True, slots=True)
class Selection:
    """The served list, best first. ``sources[i]`` says what brought item i: ``local`` or a fallback's name."""

    items: Ints
    scores: Floats
    sources: tuple[str, ...]


Fallback = Callable[[int, Ints], RankedList]
"""Given how many items are wanted and which are excluded, the best others."""


def without(ranking: RankedList, excluded: Ints) -> RankedList:
    """The ranking without the excluded items, order kept."""
    if not len(excluded) or not len(ranking):
        return ranking
    keep = ~np.isin(ranking.items, excluded)
    return RankedList(ranking.items[keep], ranking.scores[keep])


def fuse_voters(voters: Sequence[Voter], excluded: Ints, settings: FusionSettings) -> RankedList:
    """Fuse the voters' lists. Excluded items leave before ranks are counted: ranks are among what may be shown."""
    lists = [without(voter.ranking, excluded).items[: settings.candidates] for voter in voters]
    weights = list_weights(settings.method, [voter.membership for voter in voters])
    return fuse(lists, weights, settings.method, settings.k)


def select(
    ranked: RankedList, source: str, excluded: Ints, n: int, fallbacks: Sequence[tuple[str, Fallback]]
) -> Selection:
    """The first ``n`` of ``ranked`` that are not excluded, filled up from the fallbacks in their order.

    Args:
        ranked: the pipeline's own list, may be empty.
        source: its name.
        excluded: item numbers that must not be served.
        n: items wanted.
        fallbacks: named fallbacks, each asked only while items are missing.
    """
    chosen = without(ranked, excluded)
    items, scores = chosen.items[:n], chosen.scores[:n]
    sources = [source] * len(items)
    for name, fallback in fallbacks:
        missing = n - len(items)
        if missing <= 0:
            break
        more = fallback(missing, np.concatenate([excluded, items]))
        items = np.concatenate([items, more.items[:missing]])
        scores = np.concatenate([scores, more.scores[:missing]])
        sources += [name] * min(len(more), missing)
    return Selection(items, scores, tuple(sources))
