"""Which adapters one replica holds, and which may come. Pure: a state machine with an injected clock.

absent ──admit──▶ loading ──loaded──▶ resident ──(evicted, missed, not seen, let go)──▶ absent
                     └──────refused──▶ refused ──(after a while, or a restart)──▶ absent

An adapter that is loading has its slot already. Adapters are called by the names under which workers serve them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.workers.demand import Demand
from service.workers.types import OutcomeKind

CLEARLY_HOTTER = 2.0, 0.5  # times as hot as the one that has to go, and by some more


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an adapter is not used until an instant; ``kind`` is the outcome of calls that ask for it."""

    kind: OutcomeKind
    why: str
    until: float


@dataclass(frozen=True, slots=True)
class Admission:
    """An adapter may be loaded now; ``evicted`` must be unloaded for it, if it is not empty."""

    evicted: str = ""


@dataclass(slots=True)
class _Resident:
    since: float
    calls: int = 0  # that run now


class Residency:
    """The slots of one replica.

    Args:
        slots: adapters that it holds at most.
        demand: what adapters are asked for.
        clock: seconds, monotonic.
    """

    def __init__(self, slots: int, demand: Demand, clock: Callable[[], float]) -> None:
        self._slots = slots
        self._demand = demand
        self._clock = clock
        self._resident: dict[str, _Resident] = {}
        self._loading: set[str] = set()
        self._refused: dict[str, Refusal] = {}
        self._ranks: Mapping[str, int] = {}
        self._targets: dict[str, None] = {}
        self._displaced: set[str] = set()  # targets that had to go for others, since the targets were set

    def __len__(self) -> int:
        return len(self._resident)

    def expect(self, ranks: Mapping[str, int], targets: Sequence[str]) -> None:
        """What is wanted from now on.

        Args:
            ranks: of every adapter of the expected bundles its bundle's rank, 0 for the one in service: the lower, the
                stronger its claim on a slot. Adapters without a rank have the weakest.
            targets: adapters that should be here without being asked for.
        """
        self._ranks, self._targets = ranks, dict.fromkeys(targets)
        self._displaced.clear()

    @property
    def targets(self) -> tuple[str, ...]:
        """The adapters that should be here without being asked for."""
        return tuple(self._targets)

    @property
    def names(self) -> tuple[str, ...]:
        """The resident adapters."""
        return tuple(self._resident)

    def holds(self, name: str) -> bool:
        """Whether an adapter is resident, and is what it says."""
        return name in self._resident

    def is_loading(self, name: str) -> bool:
        """Whether an adapter is on its way."""
        return name in self._loading

    def is_used(self, name: str) -> bool:
        """Whether calls to an adapter run now."""
        resident = self._resident.get(name)
        return resident is not None and resident.calls > 0

    def refusal(self, name: str) -> Refusal | None:
        """Why an adapter is not used; None where nothing is held against it, or where it may be tried again."""
        refusal = self._refused.get(name)
        return refusal if refusal is not None and self._clock() < refusal.until else None

    @property
    def refusals(self) -> dict[str, Refusal]:
        """What was refused and did not come to be resident since, also where it may be tried again."""
        return dict(self._refused)

    def pending(self, names: Collection[str] | None = None) -> list[str]:
        """The targets (of ``names``, where given) that are not here yet and for which there is room.

        One that had to go for what is asked for more does not come back for as long as no slot is free.
        """
        return [name for name in self._targets if (names is None or name in names) and self._is_pending(name)]

    def admit(self, name: str, *, demanded: bool) -> Admission | None:
        """Give an adapter a slot, which it has from now on; it is to be loaded. None where it must not come.

        Into a full replica an adapter comes in the place of one that no call uses: one with a weaker claim (of a weaker
        bundle, or of the same and no target), or, where it is ``demanded``, one that is clearly colder. Else adapters
        at the edge would replace one another all the time, and everybody would wait for loads.
        """
        if name in self._resident or name in self._loading or self.refusal(name) is not None:
            return None
        victim = self._victim(name, demanded) if self._is_full() else ""
        if victim is None:
            return None
        if victim:
            del self._resident[victim]
            self._displaced.add(victim)
        self._loading.add(name)
        return Admission(victim)

    def loaded(self, name: str) -> None:
        """A load ended well, and the adapter answered its probe."""
        self._loading.discard(name)
        self._refused.pop(name, None)
        self._resident[name] = _Resident(self._clock())

    def refused(self, name: str, refusal: Refusal) -> None:
        """A load failed, or the adapter is not what it should be."""
        self._loading.discard(name)
        self._resident.pop(name, None)
        self._refused[name] = refusal

    @contextmanager
    def using(self, names: Sequence[str]) -> Iterator[None]:
        """Calls to these adapters run while the context lasts."""
        used = [self._resident[name] for name in names if name in self._resident]
        for resident in used:
            resident.calls += 1
        try:
            yield
        finally:
            for resident in used:
                resident.calls -= 1

    def missed(self, name: str, asked_at: float) -> None:
        """The worker did not know an adapter when it was asked at an instant; it may have been loaded since."""
        resident = self._resident.get(name)
        if resident is not None and resident.since <= asked_at:
            del self._resident[name]

    def seen(self, names: Collection[str], asked_at: float) -> None:
        """All that the worker has, as it said when it was asked at an instant."""
        for name in self._resident.keys() - names:
            self.missed(name, asked_at)

    def let_go(self, name: str) -> None:
        """An adapter is to be unloaded."""
        self._resident.pop(name, None)

    def restarted(self) -> None:
        """The worker is another process: nothing is known of it."""
        self._resident.clear()
        self._refused.clear()

    def _is_full(self) -> bool:
        return len(self._resident) + len(self._loading) >= self._slots

    def _is_pending(self, name: str) -> bool:
        if name in self._resident or self.refusal(name) is not None:
            return False
        if name in self._loading or not self._is_full():
            return True
        return name not in self._displaced and self._victim(name, demanded=False) is not None

    def _victim(self, name: str, demanded: bool) -> str | None:
        idle = [each for each, resident in self._resident.items() if not resident.calls]
        weakest = max(idle, key=lambda each: (self._weakness(each), -self._demand.of(each)), default=None)
        if weakest is not None and self._weakness(weakest) > self._weakness(name):
            return weakest
        equals = [each for each in idle if self._rank(each) == self._rank(name)] if demanded else []
        coldest = min(equals, key=self._demand.of, default=None)
        return coldest if coldest is not None and self._is_clearly_hotter(name, coldest) else None

    def _is_clearly_hotter(self, name: str, other: str) -> bool:
        times, more = CLEARLY_HOTTER
        return self._demand.of(name) > times * self._demand.of(other) + more

    def _weakness(self, name: str) -> tuple[int, bool]:
        return self._rank(name), name not in self._targets or name in self._displaced

    def _rank(self, name: str) -> int:
        return self._ranks.get(name, len(self._ranks))
