"""The pointer moves; bundles load, workers prepare, the service never waits. Pools are stand-ins that obey the test."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.bundles import make_bundle

from models.contract.bundle import Bundle
from models.contract.errors import BundleError
from service.gateway.bundles import follower as module
from service.gateway.bundles.follower import SnapshotFollower
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.types import StateUnavailableError


class Pointer:
    def __init__(self) -> None:
        self.bundle_id: str | None = None
        self.down = False

    async def current_bundle(self) -> str | None:
        if self.down:
            raise StateUnavailableError("down")
        return self.bundle_id


class Pool:
    def __init__(self) -> None:
        self.expected: list[str] = []
        self.ready: set[str] = set()

    def expect(self, bundles: Sequence[Bundle]) -> None:
        self.expected = [bundle.id for bundle in bundles]

    def is_ready(self, bundle_id: str) -> bool:
        return bundle_id in self.ready and bundle_id in self.expected


class World:
    """A follower, what it follows, and what it reported."""

    def __init__(self, root: Path, wait_seconds: float = 60.0) -> None:
        self.pointer, self.pool = Pointer(), Pool()
        self.events: list[tuple[str, str]] = []
        self.named: set[str] = set()
        self.follower = SnapshotFollower(
            self.pointer,
            [self.pool],
            root,
            wait_seconds,
            lambda *event: self.events.append(event),
            named=lambda: self.named,
        )

    @property
    def serves(self) -> str | None:
        return self.follower.snapshot.id if self.follower.snapshot else None

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            async with asyncio.timeout(0.5):
                await self.follower.follow()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await self.look()
                await asyncio.sleep(0.01)

    async def turn_to(self, bundle_id: str) -> None:
        self.pointer.bundle_id = bundle_id
        await self.until(lambda: self.serves == bundle_id)


@asynccontextmanager
async def world(root: Path, wait_seconds: float = 60.0) -> AsyncIterator[World]:
    made = World(root, wait_seconds)
    try:
        yield made
    finally:
        await made.follower.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def ids(root: Path) -> list[str]:
    return [make_bundle(root, n_items=n_items).id for n_items in (100, 110, 120)]


async def test_first_bundle_serves_before_a_worker_is_ready(root: Path, ids: list[str]):
    async with world(root) as here:
        await here.turn_to(ids[0])
        assert here.pool.expected == [ids[0]]
        assert here.events == [(ids[0], "loaded"), (ids[0], "in_service")]


async def test_next_bundle_waits_for_its_workers_beside_the_one_in_service(root: Path, ids: list[str]):
    first, second, _ = ids
    async with world(root) as here:
        await here.turn_to(first)
        here.pointer.bundle_id = second
        await here.until(lambda: here.pool.expected == [first, second])
        await here.look(3)
        assert here.serves == first
        here.pool.ready.add(second)
        await here.look()
        assert here.serves == second
        assert here.pool.expected == [second, first]  # for requests that began before the switch
        await here.look()
        assert here.pool.expected == [second]


async def test_bundle_that_was_rolled_back_does_not_push_out_the_one_in_service(root: Path, ids: list[str]):
    a, b, c = ids
    async with world(root) as here:
        await here.turn_to(a)
        here.pool.ready |= {a, c}
        here.pointer.bundle_id = b
        await here.until(lambda: here.pool.expected == [a, b])
        here.pointer.bundle_id = a
        await here.look()
        assert here.pool.expected == [a]
        here.pointer.bundle_id = c
        await here.until(lambda: here.serves == c)
        assert here.pool.expected == [c, a]
        await here.turn_to(a)
        await here.look()
        assert here.pool.expected == [a]


async def test_wait_for_workers_has_an_end(root: Path, ids: list[str]):
    async with world(root, wait_seconds=0.3) as here:
        await here.turn_to(ids[0])
        here.pointer.bundle_id = ids[1]
        await here.until(lambda: len(here.pool.expected) == 2)
        assert here.serves == ids[0]
        await here.until(lambda: here.serves == ids[1])


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, ids: list[str]) -> AsyncIterator[threading.Event]:
    """The second bundle takes until the event to load."""
    may_end = threading.Event()

    def load(directory: Path, _: object) -> Snapshot:
        if directory.name == ids[1]:
            may_end.wait(10)
        return load_snapshot(directory)

    monkeypatch.setattr(module, "load_snapshot", load)
    yield may_end
    may_end.set()


async def test_bundle_that_loads_slowly_holds_up_no_look_at_the_pointer(
    root: Path, ids: list[str], slow: threading.Event
):
    async with world(root) as here:
        await here.turn_to(ids[0])
        here.pointer.bundle_id = ids[1]
        await here.look(3)
        here.pool.ready.add(ids[2])
        await here.turn_to(ids[2])
        slow.set()
        await asyncio.sleep(0.1)
        await here.look(3)
        assert here.serves == ids[2]
        assert ids[1] not in dict(here.events)


async def test_closing_gives_up_what_loads(root: Path, ids: list[str], slow: threading.Event):
    async with world(root) as here:
        here.pointer.bundle_id = ids[1]
        await here.look()
    slow.set()
    await asyncio.sleep(0.1)
    assert (here.serves, here.events) == (None, [])


async def test_refused_bundle_is_not_hashed_again_at_each_look_but_after_a_while(
    root: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch
):
    async with world(root) as here:
        await here.turn_to(ids[0])
        here.pointer.bundle_id = "gone"
        await here.until(lambda: ("gone", "refused") in here.events)
        await here.look(5)
        assert here.events.count(("gone", "refused")) == 1
        assert "gone" in here.follower.refusal
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
        await here.until(lambda: here.events.count(("gone", "refused")) == 2)
        await here.turn_to(ids[0])
        await here.look()
        assert here.follower.refusal == ""


async def test_failure_that_nobody_foresaw_is_a_refusal_with_a_trace(
    root: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with world(root) as here:
        await here.turn_to(ids[0])
        monkeypatch.setattr(module, "load_snapshot", lambda *_: {}["surprise"])
        here.pointer.bundle_id = ids[1]
        await here.until(lambda: here.follower.refusal != "")
    assert here.follower.refusal == "KeyError: 'surprise'"
    assert "Traceback" in caplog.text
    assert here.serves == ids[0]


async def test_without_redis_everything_stays_as_it_is(root: Path, ids: list[str]):
    async with world(root) as here:
        await here.turn_to(ids[0])
        here.pointer.down = True
        await here.look(3)
        assert (here.serves, here.pool.expected) == (ids[0], [ids[0]])


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the directories that were loaded, in their order."""
    names: list[str] = []

    def load(directory: Path, _: object) -> Snapshot:
        names.append(directory.name)
        return load_snapshot(directory)

    monkeypatch.setattr(module, "load_snapshot", load)
    return names


async def test_way_back_and_forth_loads_nothing(root: Path, ids: list[str], loads: list[str]):
    async with world(root) as here:
        here.pool.ready |= {*ids}
        for bundle_id in (ids[0], ids[1], ids[0], ids[1]):
            await here.turn_to(bundle_id)
        assert loads == ids[:2]
        assert here.events.count((ids[1], "in_service")) == 2
        await here.turn_to(ids[2])
        await here.turn_to(ids[0])  # two before: one is kept
        assert loads == [*ids[:3], ids[0]]


async def test_way_back_waits_for_workers_as_the_way_forth(root: Path, ids: list[str], loads: list[str]):
    async with world(root) as here:
        here.pool.ready.add(ids[1])
        await here.turn_to(ids[0])
        await here.turn_to(ids[1])
        here.pointer.bundle_id = ids[0]
        await here.look(3)
        assert (here.serves, here.pool.expected) == (ids[1], [ids[1], ids[0]])
        here.pool.ready.add(ids[0])
        await here.look()
        assert here.serves == ids[0]
        assert loads == ids[:2]


async def test_refusal_ends_with_the_way_back(root: Path, ids: list[str]):
    async with world(root) as here:
        here.pool.ready |= {*ids}
        await here.turn_to(ids[0])
        await here.turn_to(ids[1])
        here.pointer.bundle_id = "gone"
        await here.until(lambda: here.follower.refused == "gone")
        await here.turn_to(ids[0])
        assert here.follower.refusal == ""


async def test_check_says_what_a_load_would_say(root: Path, ids: list[str], loads: list[str]):
    async with world(root) as here:
        await here.turn_to(ids[0])
        await here.follower.check(ids[0])  # in service: nothing is read
        await here.follower.check(ids[1])
        assert loads == ids[:2]
        for wrong in ("gone", "../x", ""):
            with pytest.raises(BundleError):
                await here.follower.check(wrong)
        assert here.serves == ids[0]


async def test_a_bundle_that_an_experiment_names_is_loaded_beside_the_one_in_service(root: Path, ids: list[str]):
    first, second, _ = ids
    async with world(root) as here:
        await here.turn_to(first)
        here.named = {second}
        await here.until(lambda: here.pool.expected == [first, second])
        assert here.follower.serving(second) is here.follower.snapshot  # its workers are not ready
        here.pool.ready.add(second)
        assert here.follower.serving(second) is here.follower.canaries.loaded[second]
        assert here.follower.serving(None) is here.follower.serving("unheard-of") is here.follower.snapshot
        here.named = set()
        await here.look()
        assert here.follower.serving(second) is here.follower.snapshot
        assert here.pool.expected == [first]


async def test_a_canary_that_is_activated_is_not_loaded_again(root: Path, ids: list[str]):
    first, second, _ = ids
    async with world(root) as here:
        await here.turn_to(first)
        here.named = {second}
        here.pool.ready.add(second)
        await here.until(lambda: here.follower.serving(second) is here.follower.canaries.loaded.get(second))
        canary = here.follower.serving(second)
        await here.turn_to(second)
        assert here.follower.snapshot is canary
        await here.look()
        assert here.follower.canaries.loaded == {}
        assert here.events.count((second, "loaded")) == 1


async def test_a_bad_canary_is_refused_and_the_others_are_served(root: Path, ids: list[str]):
    async with world(root) as here:
        await here.turn_to(ids[0])
        here.named = {"nowhere"}
        await here.until(lambda: "nowhere" in here.follower.canaries.refused)
        assert here.follower.serving("nowhere") is here.follower.snapshot
        assert here.serves == ids[0]
        assert here.follower.refusal == ""


async def test_a_canary_that_cannot_be_warmed_is_refused_and_tried_again(
    root: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch
):
    first, second, _ = ids
    async with world(root) as here:
        await here.turn_to(first)
        monkeypatch.setattr(module, "load_snapshot", lambda *_: 1 // 0)
        here.named = {second}
        await here.until(lambda: second in here.follower.canaries.refused)
        assert here.follower.canaries.refused[second].startswith("ZeroDivisionError")
        assert (second, "refused") in here.events
        monkeypatch.setattr("service.gateway.bundles.canaries.RETRY_SECONDS", 0.0)
        monkeypatch.setattr(module, "load_snapshot", load_snapshot)
        await here.until(lambda: second in here.follower.canaries.loaded)
