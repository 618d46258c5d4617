"""How much each adapter is asked for lately. Pure, with an injected clock."""

from collections.abc import Callable, Iterable

HALF_LIFE_SECONDS = 10.0


class Demand:
    """Counts of uses, each worth half as much ``half_life_seconds`` later.

    Args:
        clock: seconds, monotonic.
        half_life_seconds: long enough to tell adapters apart that are asked for once a second.
    """

    def __init__(self, clock: Callable[[], float], half_life_seconds: float = HALF_LIFE_SECONDS) -> None:
        self._clock = clock
        self._half_life_seconds = half_life_seconds
        self._counts: dict[str, tuple[float, float]] = {}  # a count, and the instant at which it was true

    def note(self, names: Iterable[str]) -> None:
        """These adapters were asked for once more."""
        now = self._clock()
        for name in names:
            self._counts[name] = self.of(name) + 1.0, now

    def of(self, name: str) -> float:
        """Uses of an adapter, decayed until now."""
        count, at = self._counts.get(name, (0.0, 0.0))
        return count * 0.5 ** ((self._clock() - at) / self._half_life_seconds) if count else 0.0

    def forget(self, names: Iterable[str]) -> None:
        """These adapters will not be asked for again."""
        for name in names:
            self._counts.pop(name, None)
