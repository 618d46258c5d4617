"""What the service should answer: ranked offline by PEFT, and compared voter by voter. Extra: train.

A degraded answer is held to the same: it must be the fusion of the voters whose absence its reasons do not excuse, or,
where it says that Redis is away, what is popular. So one adapter that answers for another shows in its ranks, and so
does a list that mixes two bundles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, Self

from localrec.bench.mixed import N, Request
from localrec.bench.synthetic import SyntheticUsers
from models.contract.bundle import Bundle, community_adapter
from models.contract.selection import FusionSettings, Voter
from models.contract.types import item_numbers
from models.ranking.answers import Answers
from models.ranking.ranker import LocalRanker
from models.ranking.recommend import best, recommend
from models.ranking.system import LocalSystem, open_system
from models.types import Sequences
from service.gateway.ranking.effort import FEWER_CANDIDATES, MODELS_SKIPPED, NARROWED

SAME_ITEMS = 9  # of N: what near-equal scores may change
NEAR_RANKS = 2  # that near-equal scores may exchange in one voter's list
WRONG_SHARE = 1 / 3  # of a voter's ranks: its list is another one's
# How other reasons begin: a voter did not answer (its name follows), nothing is known of what is stored.
MISSING_VOTER, NO_STATE = "worker_", "redis_unavailable"

Verdict = Literal["right", "degraded", "wrong"]


@dataclass(frozen=True)
class Excuses:
    """What an answer says that it lacks.

    Args:
        left_out: voters that did not answer.
        communities: the nearest ones that were asked; None: all.
        candidates: items that each voter was asked for; None: as many as the bundle says.
    """

    left_out: frozenset[str] = frozenset()
    communities: int | None = None
    candidates: int | None = None

    @classmethod
    def of(cls, reasons: Sequence[str]) -> Self:
        """The excuses among an answer's reasons."""
        said = [reason.partition(":")[::2] for reason in reasons]
        asked = {code: int(detail.partition("/")[0]) for code, detail in said if code in {NARROWED, FEWER_CANDIDATES}}
        return cls(
            frozenset(detail for code, detail in said if code.startswith(MISSING_VOTER)),
            0 if any(code == MODELS_SKIPPED.code for code, _ in said) else asked.get(NARROWED),
            asked.get(FEWER_CANDIDATES),
        )

    def heard(self, voters: Sequence[Voter]) -> tuple[Voter, ...]:
        """Those of the voters, the nearest communities first, whose lists must have counted."""
        if self.communities == 0:
            return ()
        members = [voter for voter in voters if voter.membership is not None][: self.communities]
        others = [voter for voter in voters if voter.membership is None]
        return tuple(voter for voter in (*members, *others) if voter.name not in self.left_out)


@dataclass(frozen=True)
class Expected:
    """What is ranked offline: the served list, and each voter's ranks, by item ids."""

    items: Sequence[str]
    ranks: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class _Ranked:
    """A bundle, and its voters' answers for all users."""

    system: LocalSystem
    settings: FusionSettings
    answers: Answers

    def expected(self, user: int, excuses: Excuses) -> Expected:
        answer = self.answers[user]
        settings = replace(self.settings, candidates=excuses.candidates or self.settings.candidates)
        voters = excuses.heard(answer.voters)
        items = recommend(self.system, replace(answer, voters=voters), settings, N)
        ranks = {v.name: _ranks(v, settings.candidates) for v in voters if v.membership is not None}
        return Expected(_ids(items.tolist()), ranks)

    def popular(self) -> Expected:
        return Expected(_ids(best(self.system.popularity, N, item_numbers([]), None).items.tolist()), {})


class Truth:
    """The right answers of some bundles, whose models are asked once, now.

    Args:
        bundles: that may serve.
        users: of all of them.
    """

    def __init__(self, bundles: Sequence[Bundle], users: SyntheticUsers) -> None:
        self._ranked = {bundle.id: _rank(bundle, users) for bundle in bundles}
        self.expected = cache(self._fuse)

    def judge(self, answer: Mapping[str, Any], request: Request) -> Verdict:
        """``wrong`` unless the list is what the voters that it does not excuse give; then right, or degraded."""
        if answer["model_version"] not in self._ranked:
            return "wrong"
        if not any(agrees(answer, expected) for expected in self._possible(answer, request)):
            return "wrong"
        return "degraded" if answer["degraded"] else "right"

    def _possible(self, answer: Mapping[str, Any], request: Request) -> list[Expected]:
        bundle_id, reasons = answer["model_version"], answer["reasons"]
        if request.user is None:
            return []
        possible = [self.expected(bundle_id, request.user, Excuses.of(reasons))]
        if not request.brings_history and any(reason.startswith(NO_STATE) for reason in reasons):
            possible.append(self._ranked[bundle_id].popular())
        return possible

    def _fuse(self, bundle_id: str, user: int, excuses: Excuses) -> Expected:
        return self._ranked[bundle_id].expected(user, excuses)


def agrees(answer: Mapping[str, Any], expected: Expected) -> bool:
    """Whether the list is the expected one, but for near-equal scores, and so are all voters' ranks in it."""
    items = [item["item_id"] for item in answer["items"]]
    given = _given_ranks(answer)
    distinct = len(items) == len(set(items)) == len(expected.items)
    same = len(set(items) & set(expected.items)) >= SAME_ITEMS and given.keys() <= expected.ranks.keys()
    voters_right = all(_is_voter(given.get(name, {}), ranks, items) for name, ranks in expected.ranks.items())
    return distinct and same and voters_right


def _rank(bundle: Bundle, users: SyntheticUsers) -> _Ranked:
    system, settings = open_system(bundle), bundle.manifest.serving.fusion()
    histories = Sequences.of(list(users.histories))
    return _Ranked(system, settings, LocalRanker(system, settings.candidates).answers(histories))


def _ids(items: Sequence[int]) -> list[str]:
    return [f"i{item}" for item in items]


def _ranks(voter: Voter, candidates: int) -> dict[str, int]:
    return {f"i{item}": rank for rank, item in enumerate(voter.ranking.items[:candidates].tolist(), start=1)}


def _given_ranks(answer: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """The communities' ranks of the served items, as the answer explains them."""
    given: dict[str, dict[str, int]] = {}
    for item in answer["items"]:
        for vote in item["explanation"]:
            if vote["community"] is not None:
                given.setdefault(community_adapter(vote["community"]), {})[item["item_id"]] = vote["rank"]
    return given


def _is_voter(given: Mapping[str, int], expected: Mapping[str, int], items: Sequence[str]) -> bool:
    """Whether ranks of the served items are those of a voter's list; what is not in the list ranks behind its end."""
    end = len(expected) + 1
    ranked = [item for item in items if item in given or item in expected]
    off = sum(abs(given.get(item, end) - expected.get(item, end)) > NEAR_RANKS for item in ranked)
    return off <= WRONG_SHARE * len(ranked)
