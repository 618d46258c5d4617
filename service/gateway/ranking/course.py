"""The course of one request through the use-case."""

from dataclasses import dataclass

from models.contract.selection import Selection, Voter
from models.contract.types import RankedList
from service.gateway.ranking.arrange import Arrangement, Traits
from service.gateway.ranking.plan import Plan
from service.gateway.ranking.user import User
from service.gateway.types import Reason, UserState
from service.workers.types import NO_ITEMS


@dataclass(frozen=True, slots=True)
class Heard:
    """What the voters said, fused. ``answered`` counts the adapters among them."""

    ranked: RankedList = NO_ITEMS
    voters: tuple[Voter, ...] = ()
    answered: int = 0
    failures: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Arranged:
    """What was asked of a list, what it was picked from, and the positions that were picked."""

    wanted: Arrangement
    traits: Traits
    positions: list[int]


@dataclass(frozen=True, slots=True)
class Course:
    """What each stage made of a query.

    Args:
        state: what is stored of the user.
        user: what is known of the user.
        planned: who is asked; None: nobody.
        heard: what they said.
        pool: the ranked items that the list is picked from: the list itself where nothing is arranged.
        arranged: how it was picked; None: nothing is arranged.
    """

    state: UserState
    user: User
    planned: Plan | None
    heard: Heard
    pool: Selection
    arranged: Arranged | None
