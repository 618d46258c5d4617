"""Which replicas a request's adapters are asked on. Pure.

An adapter is asked where it is resident. A server of the OpenAI API gets one call an adapter, spread over the replicas;
our engine answers many in one pass, so that there the fewest calls are best.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from service.workers.types import Outcome


class Holder(Protocol):
    """A replica, as far as routing goes."""

    @property
    def in_flight(self) -> int:
        """Calls that run."""
        ...

    @property
    def is_resting(self) -> bool:
        """Whether it would rather not be asked."""
        ...

    @property
    def obstacle(self) -> Outcome | None:
        """Why it cannot be asked."""
        ...

    def holds(self, name: str) -> bool:
        """Whether an adapter is resident there."""
        ...


H = TypeVar("H", bound=Holder)


@dataclass(frozen=True, slots=True)
class Errand(Generic[H]):
    """One call: adapters, and the replicas that hold all of them, the best first. None does where there is none."""

    names: tuple[str, ...]
    holders: tuple[H, ...]

    @property
    def free(self) -> list[H]:
        """The holders that can be asked now, the best first."""
        return [holder for holder in self.holders if holder.obstacle is None]


def one_each(names: Sequence[str], order: Callable[[str], Sequence[H]]) -> list[Errand[H]]:
    """A call for each adapter, on the first replica of its own order that holds it; those that rest come last."""
    return [
        Errand((name,), tuple(sorted(_holders(order(name), (name,)), key=lambda replica: replica.is_resting)))
        for name in names
    ]


def together(names: Sequence[str], replicas: Sequence[H]) -> list[Errand[H]]:
    """As few calls as a greedy cover gives, on replicas that can take them; among equals the idlest, then the first."""
    errands: list[Errand[H]] = []
    left = list(names)
    while left:
        best = min(replicas, key=lambda replica: _burden(replica, left), default=None)
        here = tuple(name for name in left if best is not None and best.holds(name))
        if best is None or not here:
            return [*errands, *(Errand((name,), ()) for name in left)]
        others = [replica for replica in _holders(replicas, here) if replica is not best]
        errands.append(Errand(here, (best, *others)))
        left = [name for name in left if name not in here]
    return errands


def _holders(replicas: Sequence[H], names: Sequence[str]) -> list[H]:
    return [replica for replica in replicas if all(map(replica.holds, names))]


def _burden(replica: Holder, names: Sequence[str]) -> tuple[bool, bool, int, int]:
    """The less, the better: holds none, should not be asked, how many it lacks, how busy it is."""
    lacking = sum(not replica.holds(name) for name in names)
    unfit = replica.is_resting or replica.obstacle is not None
    return lacking == len(names), unfit, lacking, replica.in_flight
