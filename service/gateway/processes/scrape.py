"""``GET /metrics`` of any of several processes answers for all: it asks the others over sockets of theirs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from service.gateway.processes.exposition import merged
from service.gateway.processes.slot import Slot
from service.gateway.telemetry import PROCESSES, Telemetry

TIMEOUT_SECONDS = 0.5
OPENMETRICS, TEXT = b"openmetrics\n", b"text\n"
MAX_BYTES = 64 * 2**20


class Scrape:
    """The metrics of this process and of those beside it.

    Args:
        telemetry: of this process.
        slot: its place among several; None: it is alone.
    """

    def __init__(self, telemetry: Telemetry, slot: Slot | None) -> None:
        self._telemetry = telemetry
        self._slot = slot

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Tell the others while the context lasts."""
        if self._slot is None:
            yield
            return
        async with await asyncio.start_unix_server(self._tell, self._slot.socket):
            yield

    async def text(self, openmetrics: bool) -> bytes:
        """The exposition of all; who does not answer in time is left out, and counted as silent."""
        if self._slot is None:
            return self._telemetry.exposition(openmetrics)
        others = self._slot.others
        answers = await asyncio.gather(*(self._ask(self._slot, number, openmetrics) for number in others))
        told = {number: answer for number, answer in zip(others, answers, strict=True) if answer}
        self._telemetry.processes(answering=1 + len(told), silent=len(others) - len(told))
        own = self._telemetry.exposition(openmetrics).decode()
        return merged({self._slot.number: own, **told}, whole={PROCESSES}).encode()

    async def _ask(self, slot: Slot, number: int, openmetrics: bool) -> str:
        """Another process's exposition; empty where it does not answer."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(slot.of(number), limit=MAX_BYTES)
                try:
                    writer.write(OPENMETRICS if openmetrics else TEXT)
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        return ""

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(self._telemetry.exposition(await reader.readline() == OPENMETRICS))
            await writer.drain()
        writer.close()
