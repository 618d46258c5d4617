"""What a loader does before its tasks have had a turn; the rest is tested with the pool."""

import asyncio
from pathlib import Path
from typing import cast

from support.bundles import make_bundle
from support.pools import Clock

from service.gateway.telemetry import Telemetry
from service.workers.client import WorkerClient
from service.workers.demand import Demand
from service.workers.loader import Loader, Shared
from service.workers.residency import Residency
from service.workers.roster import Roster, names_of
from service.workers.trust import Examiner


class Hung:
    """A worker that does not answer."""

    url = "http://hung"

    async def load_adapter(self, name: str, path: str) -> None:
        await asyncio.Event().wait()

    async def unload_adapter(self, name: str) -> None:
        await asyncio.Event().wait()


async def test_adapter_that_is_evicted_is_not_loaded_before_it_has_left(tmp_path: Path) -> None:
    bundle, clock = make_bundle(tmp_path), Clock()
    demand, roster = Demand(clock), Roster(10.0, clock)
    residency = Residency(2, demand, clock)
    shared = Shared("p", tmp_path, roster, Examiner(), Telemetry().pools, clock)
    loader = Loader(cast(WorkerClient, Hung()), residency, shared)
    cold, warm, hot, *_ = names_of(bundle.local)
    roster.expect([bundle.local])
    residency.expect(dict.fromkeys(names_of(bundle.local), 0), [])
    for name in (cold, warm):
        assert residency.admit(name, demanded=False) == ""
        residency.loaded(name)
    demand.note([warm, hot])
    assert loader.load(hot, demanded=True) is not None
    demand.note([cold] * 9)
    assert loader.load(cold, demanded=True) is None
    await asyncio.sleep(0)
    await loader.close()
    assert residency.admit(cold, demanded=True) is not None
