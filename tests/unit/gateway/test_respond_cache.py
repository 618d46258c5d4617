"""What the cache may share, and with whom."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import make_bundle
from support.experiment_files import PIPELINES, file_of

from models.contract.selection import Selection
from models.contract.types import item_numbers
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.experiments.assignment import Experiments
from service.gateway.ranking.recommend import Recommender
from service.gateway.respond import OPEN_GATE, Gate, Ready, Responder, keeps
from service.gateway.settings import Settings
from service.gateway.telemetry import Telemetry
from service.gateway.traffic.control import control_traffic
from service.gateway.traffic.settings import CacheSettings, LimitSettings, QualitySettings
from service.gateway.traffic.turnstile import Turnstile
from service.gateway.types import Answer, AttributeFilter, Caller, Effort, Query, StoredUser, Trace

NOTHING = Selection(item_numbers([]), np.empty(0, np.float32), ())
PEOPLE, BATCH = Caller(), Caller(batch=True, deadline_ms=5_000)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return load_snapshot(make_bundle(Path(tmp_path_factory.mktemp("bundle"))).directory)


class World:
    """A responder, and all that it speaks with."""

    def __init__(self, snapshot: Snapshot, recommender: Any = None, **cache: int) -> None:
        self.hidden: frozenset[str] = frozenset()
        self.efforts: list[Effort] = []
        self.at_work = self.most_at_work = 0
        self.open = asyncio.Event()
        experiments = Experiments(file_of(), PIPELINES, "cf" if recommender else "local")
        telemetry = Telemetry()
        settings = CacheSettings(**({"ttl_ms": 60_000} | cache))
        traffic = control_traffic(LimitSettings(), QualitySettings(), settings, 0.2, keeps, telemetry)
        others: list[Any] = [self, recommender or self, self, self, telemetry, traffic, lambda _: b""]
        self.responder = Responder(
            Settings(default_deadline_ms=200), lambda _: snapshot, lambda: experiments, lambda: self.hidden, *others
        )

    async def read(self, user_id: str, bundle_id: str, deadline: float, with_shown: bool) -> StoredUser:
        """As the store does."""
        return StoredUser()

    async def recommend(self, query, known, pipeline, snapshot, deadline, trace, effort) -> Answer:
        """As a recommender does whose workers answer once ``open`` is set."""
        self.efforts.append(effort)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        await self.open.wait()
        self.at_work -= 1
        return Answer(NOTHING, {}, known.reasons, 0, 0)

    def put(self, record: object) -> None:
        """As the exposure log does."""

    def offer(self, *_: object) -> None:
        """As the shadows do."""

    async def ask(self, user: str = "u", caller: Caller = PEOPLE, gate: Gate = OPEN_GATE, **query: Any) -> Ready:
        return await self.responder.respond(Query(user, **query), caller, "r", Trace(), gate)


class Changing:
    """A gate at which what is hidden changes while requests pass."""

    def __init__(self, world: World, hidden: Sequence[str]) -> None:
        self._world = world
        self._hidden = frozenset(hidden)

    async def __aenter__(self) -> None:
        self._world.hidden = self._hidden

    async def __aexit__(self, *_: object) -> None:
        pass


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_item_that_is_hidden_again_is_in_no_answer_from_the_cache(snapshot: Snapshot):
    world = World(snapshot, Recommender({}))
    best = int(snapshot.most_popular(1, item_numbers([])).items[0])
    world.hidden = frozenset([snapshot.catalogue.ids[best]])
    await world.ask(gate=Changing(world, []))  # type: ignore[arg-type]
    world.hidden = frozenset([snapshot.catalogue.ids[best]])
    assert best not in (await world.ask()).served.answer.selection.items


async def test_people_do_not_wait_at_the_gate_of_a_batch(snapshot: Snapshot):
    world = World(snapshot)
    gate = Turnstile(1)
    async with gate:  # somebody else of the batch is at work
        of_batch = asyncio.create_task(world.ask(caller=BATCH, gate=gate))
        await settle()
        asked = asyncio.create_task(world.ask())
        await settle()
        world.open.set()
        await asked
        assert world.efforts == [Effort()]
    await of_batch


async def test_equal_requests_of_a_batch_are_one_computation(snapshot: Snapshot):
    world = World(snapshot)
    gate = Turnstile(2)
    asked = [asyncio.create_task(world.ask(caller=BATCH, gate=gate)) for _ in range(5)]
    await settle()
    world.open.set()
    await asyncio.gather(*asked)
    assert len(world.efforts) == 1


async def test_what_a_batch_makes_anew_passes_its_gate_too(snapshot: Snapshot):
    world = World(snapshot, ttl_ms=1, stale_ms=60_000)
    world.open.set()
    users = [f"u{row}" for row in range(6)]
    await asyncio.gather(*map(world.ask, users))
    await asyncio.sleep(0.01)
    world.open.clear()
    world.most_at_work = 0
    gate = Turnstile(2)
    await asyncio.gather(*(world.ask(user, BATCH, gate) for user in users))  # stale, at once
    await settle()
    assert world.most_at_work == 2
    world.open.set()
    await settle()
    assert len(world.efforts) == 12


LONG = tuple(f"item {number}" for number in range(1_000))


@pytest.mark.parametrize(
    "query",
    [
        {"history": LONG},
        {"exclude_items": LONG},
        {"candidates": LONG},
        {"filters": {"brand": AttributeFilter(any_of=LONG)}},
        {"filters": {"brand": AttributeFilter(none_of=LONG)}},
        {"history": LONG[:100]},
    ],
    ids=["history", "exclude_items", "candidates", "any_of", "none_of", "short"],
)
async def test_long_requests_are_not_kept(snapshot: Snapshot, query: dict[str, Any]):
    """A key of the cache holds all that the request says: thousands of them would take gigabytes."""
    world = World(snapshot)
    world.open.set()
    for _ in range(2):
        await world.ask(**query)
    assert len(world.efforts) == (1 if query == {"history": LONG[:100]} else 2)
