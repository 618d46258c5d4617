"""The queue before the stream: nothing is lost that was taken off it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from models.contract.records import Exposure, decode_exposures
from models.contract.redis_schema import encode_shown
from service.gateway.store.exposures import ExposureLog
from service.gateway.store.redis_store import ShownList
from service.gateway.types import StateUnavailableError


class Store:
    """Keeps entries, after ``open`` is set."""

    def __init__(self) -> None:
        self.entries: list[dict[bytes, bytes]] = []
        self.open = asyncio.Event()
        self.asked = asyncio.Event()
        self.down = self.down_for_shown = False
        self.shown: list[ShownList] = []

    async def append_exposures(self, entry: dict[bytes, bytes], kept: int) -> None:
        self.asked.set()
        await self.open.wait()
        if self.down:
            raise StateUnavailableError("down")
        self.entries.append(entry)

    async def append_shown(self, lists: Sequence[ShownList]) -> None:
        if self.down_for_shown:
            raise StateUnavailableError("down")
        self.shown += lists


def make_log(**rotating: int) -> tuple[ExposureLog, Store, Counter[str]]:
    store, counts = Store(), Counter[str]()
    return ExposureLog(store, 100, lambda outcome, count: counts.update({outcome: count}), rotating), store, counts


def exposure(request_id: str, pipeline: str = "local", shadow: str = "") -> Callable[[], Exposure]:
    return lambda: Exposure(request_id, "u", 9_999, "b", pipeline, {}, ("i1",), ("local",), shadow=shadow)


async def test_batch_whose_writing_is_cancelled_is_written_at_the_flush():
    log, store, counts = make_log()
    for number in range(3):
        log.put(exposure(f"r{number}"))
    writing = asyncio.create_task(log.write_batch())
    await store.asked.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert writing.cancelled()
    store.open.set()
    await log.flush()
    (entry,) = store.entries
    assert [shown.request_id for shown in decode_exposures(entry)] == ["r0", "r1", "r2"]
    assert counts == {"written": 3}


async def test_what_cannot_be_written_in_time_is_counted(monkeypatch):
    monkeypatch.setattr("service.gateway.store.exposures.FLUSH_SECONDS", 0.05)
    log, _, counts = make_log()
    for number in range(3):
        log.put(exposure(f"r{number}"))
    await log.flush()
    assert counts == {"dropped": 3}


async def test_records_are_made_when_they_are_written():
    log, store, _ = make_log()
    store.open.set()
    made: list[str] = []

    def record() -> Exposure:
        made.append("now")
        return exposure("r0")()

    log.put(record)
    assert made == []
    await log.write_batch()
    assert made == ["now"]


async def test_requests_go_on_while_a_large_batch_is_made():
    log, store, counts = make_log()
    store.open.set()
    turns: list[int] = []

    async def request() -> None:
        while not counts:
            turns.append(len(store.entries))
            await asyncio.sleep(0)

    for number in range(200):
        log.put(exposure(f"r{number}"))
    await asyncio.gather(log.write_batch(), request())
    assert turns.count(0) >= 10
    assert [shown.request_id for shown in decode_exposures(store.entries[0])] == [f"r{number}" for number in range(200)]


async def test_redis_that_is_down_costs_the_batch_and_no_more():
    log, store, counts = make_log()
    store.open.set()
    store.down = True
    log.put(exposure("r0"))
    await log.write_batch()
    assert counts == {"dropped": 1}


async def test_only_what_was_shown_by_pipelines_that_rotate_is_noted_for_the_user():
    log, store, counts = make_log(turning=60)
    store.open.set()
    for served in (exposure("r0"), exposure("r1", "turning"), exposure("r2", "turning", shadow="dark")):
        log.put(served)
    await log.write_batch()
    assert store.shown == [ShownList("u", encode_shown(["i1"], 9), 60)]
    assert counts == {"written": 3}


async def test_exposures_are_written_though_their_users_note_is_not():
    log, store, counts = make_log(turning=60)
    store.open.set()
    store.down_for_shown = True
    log.put(exposure("r0", "turning"))
    await log.write_batch()
    assert counts == {"written": 1}
    assert len(store.entries) == 1


async def test_a_record_that_cannot_be_made_costs_no_other_and_not_the_flush():
    log, store, counts = make_log()
    store.open.set()
    log.put(exposure("r0"))
    log.put(lambda: exposure("r1")()._replace())  # a bug
    log.put(exposure("r2"))
    await log.flush()
    assert [shown.request_id for shown in decode_exposures(store.entries[0])] == ["r0", "r2"]
    assert counts == {"written": 2, "dropped": 1}
