"""Which adapters are resident, under which names, and in which slots.

A slot is written before its name is published, and given away again only when the last batch that reads it has ended: a
request never sees another adapter than the one that it named.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol, TypeVar

from service.engine.adapter_files import resolve_adapter
from service.engine.errors import BadRequestError, NotFoundError
from service.engine.lora import BASE_SLOT
from service.engine.types import AdapterStore

T = TypeVar("T")


class ModelThread(Protocol):
    """Runs work while no batch runs."""

    async def between_batches(self, work: Callable[[], T]) -> T:
        """The result of ``work``."""
        ...


@dataclass
class Resident:
    """A loaded adapter. ``users`` counts the requests that use it now."""

    name: str
    path: Path
    slot: int
    users: int = field(default=0)


@dataclass(frozen=True)
class Hold:
    """Models whose slots stay theirs until it is released, once: when nothing in the model reads them any more."""

    residents: tuple[Resident, ...]

    @property
    def slots(self) -> dict[str, int]:
        """Slots by name."""
        return {resident.name: resident.slot for resident in self.residents}

    def release(self) -> None:
        """Let go."""
        for resident in self.residents:
            resident.users -= 1


class AdapterRegistry:
    """Loads and unloads adapters while requests go on. Lives on the event loop.

    Args:
        base_id: name of the base model.
        root: the directory that adapters must lie in.
        store: where the weights go.
        thread: the model's.
    """

    def __init__(self, base_id: str, root: Path, store: AdapterStore, thread: ModelThread) -> None:
        self._base = Resident(base_id, root, BASE_SLOT)
        self._root = root
        self._store = store
        self._thread = thread
        self._published: dict[str, Resident] = {}
        self._retired: list[Resident] = []
        self._loading = asyncio.Lock()  # one at a time: the second of two equal loads must find the first

    def __len__(self) -> int:
        return len(self._published)

    @property
    def residents(self) -> tuple[Resident, ...]:
        """The published adapters, in the order in which they came."""
        return tuple(self._published.values())

    def hold(self, name: str) -> Hold:
        """One model. Raises NotFoundError."""
        hold = self.hold_all([name])
        if name not in hold.slots:
            raise unknown_model(name)
        return hold

    def hold_all(self, names: Sequence[str]) -> Hold:
        """Those of these models that are there; their slots stay theirs until the hold is released."""
        found = tuple(resident for resident in map(self._find, names) if resident is not None)
        for resident in found:
            resident.users += 1
        return Hold(found)

    async def load(self, name: str, path: str) -> None:
        """Read, check and publish an adapter. Raises an EngineError, and then nothing has changed.

        A load that has begun ends, also where its caller is cancelled: its slot must not meet the next load.
        """
        await asyncio.shield(asyncio.create_task(self._load(name, path)))

    def unload(self, name: str) -> None:
        """Take an adapter's name away; requests that use it end as they began. Raises NotFoundError."""
        resident = self._published.pop(name, None)
        if resident is None:
            raise NotFoundError(f"The lora adapter '{name}' cannot be found.", "lora_name")
        self._retired.append(resident)

    async def _load(self, name: str, path: str) -> None:
        async with self._loading:
            if not name:
                raise BadRequestError("lora_name: must not be empty", "lora_name")
            if name == self._base.name:
                raise BadRequestError(f"The lora adapter '{name}' conflicts with a served base model.", "lora_name")
            if name in self._published:
                raise BadRequestError(f"The lora adapter '{name}' has already been loaded.", "lora_name")
            directory, slot = resolve_adapter(path, self._root, self._store.files), self._free_slot()
            publish = await asyncio.to_thread(self._store.prepare, slot, directory)  # beside the batches that run
            await self._thread.between_batches(publish)
            self._published[name] = Resident(name, directory, slot)

    def _find(self, name: str) -> Resident | None:
        return self._base if name == self._base.name else self._published.get(name)

    def _free_slot(self) -> int:
        self._retired = [resident for resident in self._retired if resident.users]
        taken = {resident.slot for resident in (*self._published.values(), *self._retired)}
        return next(slot for slot in count(BASE_SLOT + 1) if slot not in taken)


def unknown_model(name: str) -> NotFoundError:
    """What is said about a model that is not loaded."""
    return NotFoundError(f"The model `{name}` does not exist.", "model")
