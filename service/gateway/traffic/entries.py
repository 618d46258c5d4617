"""Values that are good for a while: a bounded table, the least recently used leaves first. Pure, with a given clock."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.gateway.traffic.settings import CacheSettings

JITTER = 0.2  # of the time to live, so that what came together does not go together
SWEPT = 4  # entries that may go for one that comes: after a pause the table empties, and no request pays for all of it
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """A value, and the instants until which it is fresh, and may be served at all."""

    value: V
    fresh_until: float
    kept_until: float


class Entries(Generic[V]):
    """The table.

    Args:
        settings: lengths and capacity.
        clock: seconds, monotonic.
        spread: uniform in [0, 1), what each entry's time to live is shortened by.
    """

    def __init__(self, settings: CacheSettings, clock: Callable[[], float], spread: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._spread = spread
        self._entries: OrderedDict[Hashable, Entry[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> tuple[V, bool] | None:
        """The value and whether it is fresh; None where there is none that may be served."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock()
        if now >= entry.kept_until:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry.value, now < entry.fresh_until

    def put(self, key: Hashable, value: V) -> None:
        """Keep a value that was made just now, and let go of those that nobody asked for until they were too old."""
        now = self._clock()
        fresh_until = now + self._settings.ttl_ms / 1e3 * (1 - JITTER * self._spread())
        self._entries[key] = Entry(value, fresh_until, fresh_until + self._settings.stale_ms / 1e3)
        self._entries.move_to_end(key)
        for _ in range(SWEPT):
            if not self._first_may_go():
                break
            self._entries.popitem(last=False)

    def _first_may_go(self) -> bool:
        """The least recently used: whatever nobody has used for as long as it may be served is there in the end."""
        first = next(iter(self._entries.values()))
        return len(self._entries) > self._settings.entries or first.kept_until <= self._clock()
