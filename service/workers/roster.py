"""The bundles that a pool serves: those expected, and those retired until they are drained. Pure, injected clock."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from models.contract.bundle import ServedModel


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an adapter is: its bundle's model, and its name there."""

    model: ServedModel
    adapter: str


class Roster:
    """Expected bundles, the one in service first, and retired ones; of each the one model that the pool serves.

    A bundle that is no longer expected goes on being served for ``drain_seconds``, as other gateways may be behind, and
    as long as requests that began on it run. Expected again meanwhile, it has lost nothing.

    Args:
        drain_seconds: from a bundle's retirement to its end.
        clock: seconds, monotonic.
    """

    def __init__(self, drain_seconds: float, clock: Callable[[], float]) -> None:
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._models: dict[str, ServedModel] = {}  # the expected ones first
        self._retired_at: dict[str, float] = {}
        self._requests: Counter[str] = Counter()
        self._owners: dict[str, Owner] = {}

    @property
    def expected(self) -> tuple[ServedModel, ...]:
        """The expected bundles, the one in service first."""
        return tuple(model for model in self._models.values() if model.id not in self._retired_at)

    def expect(self, models: Sequence[ServedModel]) -> bool:
        """From now on expect these. Says whether that is news."""
        if [model.id for model in models] == [model.id for model in self.expected]:
            return False
        coming = {model.id: model for model in models}
        for model in self.expected:
            if model.id not in coming:
                self._retired_at[model.id] = self._clock()
        self._retired_at = {each: at for each, at in self._retired_at.items() if each not in coming}
        self._models = coming | {each: self._models[each] for each in self._retired_at}
        self._own()
        return True

    def get(self, bundle_id: str) -> ServedModel | None:
        """The model of a bundle that is served."""
        return self._models.get(bundle_id)

    def is_expected(self, bundle_id: str) -> bool:
        """Whether a bundle is expected."""
        return bundle_id in self._models and bundle_id not in self._retired_at

    @property
    def adapters(self) -> frozenset[str]:
        """Names inside their bundles of all adapters that are served."""
        return frozenset(owner.adapter for owner in self._owners.values())

    def owner(self, name: str) -> Owner | None:
        """Whose an adapter is, by the name under which workers serve it; None where its bundle is served no more."""
        return self._owners.get(name)

    @contextmanager
    def request(self, bundle_id: str) -> Iterator[None]:
        """A request is answered from a bundle while the context lasts."""
        self._requests[bundle_id] += 1
        try:
            yield
        finally:
            self._requests[bundle_id] -= 1

    def end_drained(self) -> list[str]:
        """End the retired bundles that are drained. Returns the names of their adapters."""
        now = self._clock()
        ended = [
            bundle_id
            for bundle_id, at in self._retired_at.items()
            if now - at >= self._drain_seconds and not self._requests[bundle_id]
        ]
        names = [name for bundle_id in ended for name in names_of(self._models[bundle_id])]
        for bundle_id in ended:
            del self._models[bundle_id], self._retired_at[bundle_id], self._requests[bundle_id]
        if ended:
            self._own()
        return names

    def _own(self) -> None:
        self._owners = {
            model.adapter_name(adapter): Owner(model, adapter)
            for model in self._models.values()
            for adapter in model.adapters
        }


def names_of(model: ServedModel) -> list[str]:
    """The names under which workers serve a model's adapters."""
    return [model.adapter_name(adapter) for adapter in model.adapters]
