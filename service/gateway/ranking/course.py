"""The course of one request through the use-case."""

from dataclasses import dataclass

from models.contract.selection import Ballot, Selection, Voter
from models.contract.types import RankedList
from service.gateway.ranking.arrange import Arrangement, Traits
from service.gateway.ranking.plan import Plan
from service.gateway.ranking.user import User
from service.gateway.types import Reason, UserState
from service.workers.types import NO_ITEMS, Outcome


@dataclass(frozen=True, slots=True)
class Heard:
    """What the voters said, as one list.

    ``answered`` counts the adapters among them, ``reasons`` are what the caller should know of the plan and its calls,
    ``outcomes`` the calls' ends, ``ballots`` what the list was made of.
    """

    ranked: RankedList = NO_ITEMS
    voters: tuple[Voter, ...] = ()
    answered: int = 0
    reasons: tuple[Reason, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    ballots: tuple[Ballot, ...] = ()


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
        pool: the ranked items that the list is picked from; the list itself where nothing is arranged.
        arranged: how it was picked; None: nothing is arranged.
    """

    state: UserState
    user: User
    planned: Plan | None
    heard: Heard
    pool: Selection
    arranged: Arranged | None = None

    @property
    def selection(self) -> Selection:
        """The list that is served. Scores stay those of the pool: where it was arranged, in no order."""
        if self.arranged is None:
            return self.pool
        positions = self.arranged.positions
        sources = tuple(self.pool.sources[position] for position in positions)
        return Selection(self.pool.items[positions], self.pool.scores[positions], sources)

    def capped(self, n: int) -> bool:
        """Whether caps left fewer than ``n`` items, and fewer than there were to pick from."""
        return self.arranged is not None and len(self.arranged.positions) < min(n, len(self.pool.items))
