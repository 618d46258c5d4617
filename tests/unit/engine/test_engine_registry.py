"""Loads that nobody waits for any more."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from service.engine.model import LanguageModel
from service.engine.registry import AdapterRegistry

pytestmark = pytest.mark.engine

T = TypeVar("T")


class BusyThread:
    """A model's thread that is free once ``free`` is set; ``asked`` says that somebody waits for it."""

    def __init__(self) -> None:
        self.asked, self.free = asyncio.Event(), asyncio.Event()

    async def between_batches(self, work: Callable[[], T]) -> T:
        self.asked.set()
        await self.free.wait()
        return work()


async def test_load_whose_caller_is_cancelled_ends_before_the_next(root: Path, model: LanguageModel) -> None:
    thread = BusyThread()
    registry = AdapterRegistry("base", root, model.store, thread)
    first = asyncio.create_task(registry.load("a", str(root / "adapters" / "c00")))
    await thread.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(registry.load("b", str(root / "adapters" / "c01")))
    thread.free.set()
    await second
    assert [(resident.name, resident.slot) for resident in registry.residents] == [("a", 1), ("b", 2)]
