"""Which adapters one replica holds, and which may come. Pure: a state machine with an injected clock.

absent ──admit──▶ loading ──loaded──▶ resident ──(evicted, missed, not seen, let go)──▶ absent
                     └──────refused──▶ refused ──(after a while, or a restart)──▶ absent

An adapter that is loading has its slot already. What else the worker lists are strangers: other gateways' adapters, or
what one that died has left there. They count against the slots.

Adapters are called by the names under which workers serve them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.workers.demand import Demand
from service.workers.types import OutcomeKind

STRANGER_SECONDS = 120.0  # from when a stranger is seen until it may be taken for an orphan
CLEARLY_HOTTER = 2.0, 0.5  # times as hot as the one that has to go, and by some more


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an adapter is not used until an instant; ``kind`` is the outcome of calls that ask for it."""

    kind: OutcomeKind
    why: str
    until: float


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
        self._strangers: dict[str, float] = {}  # since when they are seen
        self._leaving: set[str] = set()
        self._left: dict[str, float] = {}  # when; a list of the worker's may be older
        self._owed: set[str] = set()  # should be gone, by our own word, but are not known to be
        self._refused: dict[str, Refusal] = {}
        self._ranks: Mapping[str, int] = {}
        self._targets: dict[str, None] = {}
        self._displaced: set[str] = set()  # targets that had to go for others since they became targets

    def __len__(self) -> int:
        return len(self._resident)

    def expect(self, ranks: Mapping[str, int], targets: Sequence[str]) -> None:
        """What is wanted from now on.

        Args:
            ranks: of every adapter of the expected bundles its bundle's rank, 0 for the one in service: the lower, the
                stronger its claim on a slot. Adapters without a rank have the weakest.
            targets: adapters that should be here without being asked for.
        """
        self._displaced &= self._targets.keys() & set(targets)
        self._ranks, self._targets = ranks, dict.fromkeys(targets)

    @property
    def targets(self) -> tuple[str, ...]:
        """The adapters that should be here without being asked for."""
        return tuple(self._targets)

    @property
    def names(self) -> tuple[str, ...]:
        """The resident adapters."""
        return tuple(self._resident)

    @property
    def strangers(self) -> tuple[str, ...]:
        """What the worker lists and this residency did not bring, or could not get rid of, the oldest first."""
        return tuple(sorted(self._strangers, key=self._strangers.__getitem__))

    @property
    def owed(self) -> list[str]:
        """The strangers whose unloading failed."""
        return [name for name in self._strangers if name in self._owed]

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

    def forgive(self, name: str) -> None:
        """Nothing is held against an adapter any more."""
        self._refused.pop(name, None)

    def pending(self, names: Collection[str] | None = None) -> list[str]:
        """The targets (of ``names``, where given) that are not here yet and for which there is room.

        One that had to go for what is asked for more does not come back for as long as no slot is free.
        """
        return [name for name in self._targets if (names is None or name in names) and self._is_pending(name)]

    def has_place(self, name: str) -> bool:
        """Whether an adapter is here, is to come, or would be but for what is held against it."""
        return name in self._resident or name in self._refused or bool(self.pending({name}))

    def admit(self, name: str, *, demanded: bool) -> str | None:
        """Give an adapter a slot, which it has from now on; it is to be loaded. None where it must not come.

        Else the name of the adapter that must be unloaded for it first, or nothing.

        Into a full replica an adapter comes in the place of an orphan: a stranger of no expected bundle that has been
        there for long, the oldest first. Else in the place of one that no call uses: one with a weaker claim (of a
        weaker bundle, or of the same and no target), or, where it is ``demanded``, one that is clearly colder. Else
        adapters at the edge would replace one another all the time, and everybody would wait for loads.
        """
        if name in self._resident or name in self._loading or name in self._leaving or self.refusal(name) is not None:
            return None
        victim = self._victim(name, demanded) if self._is_full(name) else ""
        if victim is None:
            return None
        if self._resident.pop(victim, None) is not None:
            self._displaced.add(victim)
        for each in (name, victim):
            self._strangers.pop(each, None)
        self._owed.discard(name)
        self._loading.add(name)
        return victim

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
        if self._resident and not self._resident.keys() & set(names):
            self._all_gone(asked_at)
        for name in self._resident.keys() - names:
            self.missed(name, asked_at)
        self._left = {name: at for name, at in self._left.items() if at > asked_at}
        known = self._resident.keys() | self._loading | self._leaving | self._left.keys()
        self._strangers = {name: self._strangers.get(name, asked_at) for name in set(names) - known}
        self._owed &= self._strangers.keys() | self._leaving

    def let_go(self, name: str) -> None:
        """An adapter is being unloaded: until it has left, it is not loaded again."""
        self._resident.pop(name, None)
        self._strangers.pop(name, None)
        self._leaving.add(name)
        self._owed.add(name)

    def left(self, name: str, *, gone: bool) -> None:
        """Unloading ended: the adapter is gone, or nobody knows; then it is seen again, as a stranger."""
        self._leaving.discard(name)
        if gone:
            self._owed.discard(name)
            self._left[name] = self._clock()

    def restarted(self) -> None:
        """The worker is another process: nothing is known of it."""
        for each in (self._resident, self._refused, self._strangers, self._left, self._owed):
            each.clear()

    def _all_gone(self, asked_at: float) -> None:
        """Not even one is there: unless all came after the question, the worker has started again unseen."""
        if all(resident.since <= asked_at for resident in self._resident.values()):
            self.restarted()

    def _is_full(self, name: str) -> bool:
        """Whether there is no slot for an adapter. One that is there already, as a stranger, takes no other's."""
        strangers = 0 if name in self._strangers else len(self._strangers)
        return len(self._resident) + len(self._loading) + strangers >= self._slots

    def _is_pending(self, name: str) -> bool:
        if name in self._resident or self.refusal(name) is not None:
            return False
        if name in self._loading or not self._is_full(name):
            return True
        return name not in self._displaced and self._victim(name, demanded=False) is not None

    def _victim(self, name: str, demanded: bool) -> str | None:
        orphan = self._orphan(name)
        if orphan is not None:
            return orphan
        idle = [each for each, resident in self._resident.items() if not resident.calls]
        weakest = max(idle, key=lambda each: (self._weakness(each), -self._demand.of(each)), default=None)
        if weakest is not None and self._weakness(weakest) > self._weakness(name):
            return weakest
        equals = [each for each in idle if self._rank(each) == self._rank(name)] if demanded else []
        coldest = min(equals, key=self._demand.of, default=None)
        return coldest if coldest is not None and self._is_clearly_hotter(name, coldest) else None

    def _orphan(self, name: str) -> str | None:
        """What should be gone already, else the oldest stranger that nobody seems to want."""
        now = self._clock()
        owed = [each for each in self._strangers if each in self._owed and each != name]
        old = [
            each
            for each, since in self._strangers.items()
            if each not in self._ranks and now - since >= STRANGER_SECONDS
        ]
        return next(iter(owed), None) or min(old, key=self._strangers.__getitem__, default=None)

    def _is_clearly_hotter(self, name: str, other: str) -> bool:
        times, more = CLEARLY_HOTTER
        return self._demand.of(name) > times * self._demand.of(other) + more

    def _weakness(self, name: str) -> tuple[int, bool]:
        return self._rank(name), name not in self._targets or name in self._displaced

    def _rank(self, name: str) -> int:
        return self._ranks.get(name, len(self._ranks))
