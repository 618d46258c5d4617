"""From the voters' lists to the list that is served. The offline evaluation ranks with this very function.

The communities are the voters of L3Rec. Beside them others may vote, by name and with a weight learned on validation
data: the adapter that was trained for everyone, the global CF model, offline any model that gives lists.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.contract.fusion import FusionMethod, fuse, list_weights
from models.contract.numbers import among
from models.contract.types import Array, Floats, Ints, Membership, RankedList

ServedVoter = Literal["global", "cf"]  # who can vote in the service beside the communities
GLOBAL_VOTER: ServedVoter = "global"  # the adapter that was trained for everyone: one more worker call
CF_VOTER: ServedVoter = "cf"  # the global CF model: no worker call
MAX_VOTER_WEIGHT = 1_000.0


@dataclass(frozen=True, slots=True)
class FusionSettings:
    """How lists become one.

    Args:
        method: see :class:`FusionMethod`.
        k: damping constant of equations 5 and 6.
        candidates: items asked of each voter.
        others: voters beside the communities, name and weight; 1 is as much as all of the user's communities together,
            however many they are. Who is not named has no vote.
    """

    method: FusionMethod = FusionMethod.RRF
    k: float = 0.0
    candidates: int = 100
    others: tuple[tuple[str, float], ...] = ()

    def has_vote(self, name: str) -> bool:
        """Whether a voter beside the communities is asked."""
        return any(voter == name and weight > 0 for voter, weight in self.others)


@dataclass(frozen=True, slots=True)
class Voter:
    """One list that may be fused: a community's, with the user's membership in it, or that of another, ``name``."""

    membership: Membership | None
    ranking: RankedList
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What is counted of a voter: the part of its list that may be shown, and the weight."""

    voter: Voter
    ranking: RankedList
    weight: float


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
    keep = ~among(ranking.items, excluded)
    return RankedList(ranking.items[keep], ranking.scores[keep])


def within(ranking: RankedList, members: Array | None) -> RankedList:
    """The part of a list that its community may rank: the items i ∈ V_j of equation 4, order kept.

    Args:
        ranking: the list.
        members: (n_items,) bool, whether an item belongs to the community; None: all do.
    """
    if members is None or not len(ranking):
        return ranking
    keep = members[ranking.items]
    return RankedList(ranking.items[keep], ranking.scores[keep])


def fuse_voters(voters: Sequence[Voter], excluded: Ints, settings: FusionSettings) -> RankedList:
    """Fuse the voters' lists."""
    return fuse_ballots(ballots(voters, excluded, settings), settings)


def fuse_ballots(cast: Sequence[Ballot], settings: FusionSettings) -> RankedList:
    """Fuse what the voters bring."""
    return fuse([b.ranking for b in cast], [b.weight for b in cast], settings.method, settings.k)


def ballots(voters: Sequence[Voter], excluded: Ints, settings: FusionSettings) -> list[Ballot]:
    """What each voter brings to the fusion, voters without a vote left out.

    Excluded items leave before ranks are counted: ranks are among what may be shown.
    """
    members = [voter.membership for voter in voters if voter.membership is not None]
    weights = iter(list_weights(settings.method, members))
    together = sum(list_weights(settings.method, members)) or 1.0
    others = {name: weight * together for name, weight in settings.others if weight > 0}
    return [
        Ballot(
            voter,
            _first(without(voter.ranking, excluded), settings.candidates),
            others[voter.name] if voter.membership is None else next(weights),
        )
        for voter in voters
        if voter.membership is not None or voter.name in others
    ]


def _first(ranking: RankedList, n: int) -> RankedList:
    return ranking if len(ranking) <= n else RankedList(ranking.items[:n], ranking.scores[:n])


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
        if len(items):
            more = fallback(missing, np.concatenate([excluded, items]))
            items = np.concatenate([items, more.items[:missing]])
            scores = np.concatenate([scores, more.scores[:missing]])
        else:
            more = fallback(missing, excluded)
            items, scores = more.items[:missing], more.scores[:missing]
        sources += [name] * min(len(more), missing)
    return Selection(items, scores, tuple(sources))
