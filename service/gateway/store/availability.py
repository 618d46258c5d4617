"""Which items operators have taken out of every list, as far as this process knows."""

from collections.abc import Callable
from typing import Protocol

from service.gateway.types import StateUnavailableError


class HiddenItems(Protocol):
    """Where the hidden items are kept."""

    async def hidden_version(self) -> int:
        """Changes with every change of the items. Raises StateUnavailableError."""
        ...

    async def hidden(self) -> frozenset[str]:
        """Their ids. Raises StateUnavailableError."""
        ...


class AvailabilityFollower:
    """Holds the hidden items. While the store is silent, those of which it spoke last; before its first word, none.

    Args:
        store: where they are kept.
        observer: told how many there are whenever they have changed.
    """

    def __init__(self, store: HiddenItems, observer: Callable[[int], None]) -> None:
        self.hidden: frozenset[str] = frozenset()
        self.version = 0
        self._store = store
        self._observer = observer

    async def follow(self) -> None:
        """One look at the version, and where it is another one, at the items."""
        try:
            # The version first: a change in between is read twice, rather than never.
            version = await self._store.hidden_version()
            if version != self.version:
                self.hidden, self.version = await self._store.hidden(), version
                self._observer(len(self.hidden))
        except StateUnavailableError:
            return
