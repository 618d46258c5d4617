"""What was shown, written to a capped Redis Stream after the response. Never delays or fails one."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from models.contract.records import Exposure, encode_records
from models.contract.redis_schema import encode_shown
from service.gateway.store.redis_store import RedisStore, ShownList
from service.gateway.types import StateUnavailableError

logger = logging.getLogger(__name__)

QUEUE_CAPACITY = 4_000  # one that waits holds its voters' lists, some 10 KiB
BATCH = 200
TURN = 20  # records made before requests may go on: less than a millisecond
FLUSH_SECONDS = 1.0
Record = Callable[[], Exposure]
"""Makes the exposure when it is written, so that the request does not pay for it."""


class ExposureLog:
    """A bounded queue and the task that empties it in batches.

    Args:
        store: where the stream is.
        kept: batches that the stream keeps, about.
        count: told of each entry's end, ``written`` or ``dropped``, and how many.
        rotating: pipelines whose lists are noted for their users, too, and for how many seconds.
    """

    def __init__(
        self,
        store: RedisStore,
        kept: int,
        count: Callable[[str, int], None],
        rotating: Mapping[str, int] | None = None,
    ) -> None:
        self._store = store
        self._rotating = rotating or {}
        self._kept = kept
        self._count = count
        self._queue: asyncio.Queue[Record] = asyncio.Queue(QUEUE_CAPACITY)

    def put(self, record: Record) -> None:
        """Take note; dropped and counted where Redis does not keep up."""
        try:
            self._queue.put_nowait(record)
        except asyncio.QueueFull:
            self._count("dropped", 1)

    async def write_batch(self) -> None:
        """Wait for at least one entry, and write all that are there, up to a batch."""
        batch = [await self._queue.get()]
        while len(batch) < BATCH and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        try:
            exposures = await _made(batch)
            await self._store.append_exposures(encode_records(exposures), self._kept)
            self._count("written", len(exposures))
            if len(exposures) < len(batch):
                self._count("dropped", len(batch) - len(exposures))
            await self._note_shown(exposures)
        except StateUnavailableError as exc:
            self._count("dropped", len(batch))
            logger.warning("%d exposures dropped: %s", len(batch), exc)
        except asyncio.CancelledError:
            # The process stops, and will flush. An entry that Redis has got already is written twice, rather than none.
            for record in batch:
                self.put(record)
            raise

    async def _note_shown(self, batch: Sequence[Exposure]) -> None:
        lists = [_shown(exposure, self._rotating[exposure.pipeline]) for exposure in batch if self._rotates(exposure)]
        if not lists:
            return
        try:
            await self._store.append_shown(lists)
        except StateUnavailableError as exc:
            logger.warning("%d lists not noted as shown: %s", len(lists), exc)

    def _rotates(self, exposure: Exposure) -> bool:
        return exposure.pipeline in self._rotating and not exposure.shadow

    async def flush(self) -> None:
        """Write what is left, for at most a second."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                while not self._queue.empty():
                    await self.write_batch()
        except TimeoutError:
            self._count("dropped", self._queue.qsize())


def _shown(exposure: Exposure, kept_seconds: int) -> ShownList:
    return ShownList(exposure.user_id, encode_shown(exposure.items, exposure.timestamp_ms // 1_000), kept_seconds)


async def _made(batch: Sequence[Record]) -> list[Exposure]:
    exposures: list[Exposure] = []
    for at in range(0, len(batch), TURN):
        exposures += filter(None, map(_make, batch[at : at + TURN]))
        await asyncio.sleep(0)
    return exposures


def _make(record: Record) -> Exposure | None:
    """None where that is a bug: it must not take the others with it, nor the end of the process."""
    try:
        return record()
    except Exception:
        logger.exception("an exposure could not be made")
        return None
