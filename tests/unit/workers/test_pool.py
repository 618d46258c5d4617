"""Replicas: placement, loads at run time, limits; against the stub in the same loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import uvicorn
from support.bundles import make_bundle
from support.processes import free_port

from localrec.bench.stub_worker import create_stub
from models.contract.bundle import Bundle
from models.contract.types import item_numbers
from service.gateway.telemetry import Telemetry
from service.workers.pool import WorkerPool
from service.workers.types import Completion, Outcome, OutcomeKind, PoolOptions

ASKED = Completion(prompt=[200, 1], candidates=10, excluded=item_numbers([]), n_items=200)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path)


@asynccontextmanager
async def worker(base: str, load_seconds: float = 0.0) -> AsyncIterator[str]:
    port = free_port()
    app = create_stub(base, 200)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        await session.post(f"{url}/stub", json={"load_seconds": load_seconds})
    try:
        yield url
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def pool_of(*urls: str, probe_interval_seconds: float = 0.02, **options: float) -> AsyncIterator[WorkerPool]:
    options["probe_interval_seconds"] = probe_interval_seconds
    pool = WorkerPool(PoolOptions("p", urls, Path("/bundles"), **options), Telemetry())
    try:
        yield pool
    finally:
        await pool.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a pool has no event for it
            await asyncio.sleep(0.01)


async def make_ready(pool: WorkerPool, bundle: Bundle) -> None:
    pool.expect([bundle])
    await until(lambda: pool.is_ready(bundle.id))


async def ask(pool: WorkerPool, bundle: Bundle, adapter: str = "c00", seconds: float = 5.0) -> Outcome:
    [outcome] = await pool.fan_out(bundle.id, [adapter], ASKED, asyncio.get_running_loop().time() + seconds)
    return outcome


async def test_prepares_and_answers(bundle: Bundle):
    async with worker(bundle.base_id) as url, pool_of(url) as pool:
        assert (await ask(pool, bundle)).kind is OutcomeKind.UNREACHABLE
        await make_ready(pool, bundle)
        outcome = await ask(pool, bundle)
        assert (outcome.kind, len(outcome.ranking)) == (OutcomeKind.OK, 10)
        assert [status.reason for status in pool.status()] == [""]


async def test_one_dead_replica_does_not_take_the_pool_down(bundle: Bundle):
    async with worker(bundle.base_id) as url, pool_of(f"http://127.0.0.1:{free_port()}", url) as pool:
        await make_ready(pool, bundle)
        outcomes = [await ask(pool, bundle, f"c0{number}") for number in range(4)]
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.OK}
        assert sorted(bool(status.reason) for status in pool.status()) == [False, True]


async def test_bundle_that_was_never_prepared_is_not_asked_for(bundle: Bundle):
    async with worker(bundle.base_id) as url, pool_of(url) as pool:
        await make_ready(pool, bundle)
        deadline = asyncio.get_running_loop().time() + 1
        [outcome] = await pool.fan_out("other", ["c00"], ASKED, deadline)
        assert outcome.kind is OutcomeKind.UNREACHABLE


async def test_deadline_in_the_past_is_a_timeout_at_once(bundle: Bundle):
    async with worker(bundle.base_id) as url, pool_of(url, failures_to_open=1) as pool:
        await make_ready(pool, bundle)
        assert (await ask(pool, bundle, seconds=-1)).kind is OutcomeKind.TIMEOUT
        assert (await ask(pool, bundle)).kind is OutcomeKind.OK


async def test_breaker_opens_and_lets_one_try_after_the_cooldown(bundle: Bundle):
    options = {"failures_to_open": 2, "cooldown_seconds": 60, "probe_interval_seconds": 60}
    async with AsyncExitStack() as parts:
        async with worker(bundle.base_id) as url:
            pool = await parts.enter_async_context(pool_of(url, **options))
            await make_ready(pool, bundle)
        details = [(await ask(pool, bundle)).detail for _ in range(3)]  # it has just died, and no probe has noticed
        assert details[2] == "breaker is open"
        assert "breaker is open" not in details[:2]


async def test_slow_replica_keeps_no_one_waiting(bundle: Bundle):
    async with (
        worker(bundle.base_id, load_seconds=1.5) as slow,
        worker(bundle.base_id) as quick,
        pool_of(slow, quick) as pool,
    ):
        await make_ready(pool, bundle)
        assert (await ask(pool, bundle)).kind is OutcomeKind.OK
        assert {status.url: status.bundles for status in pool.status()} == {slow: (), quick: (bundle.id,)}


async def test_bundle_in_service_stays_while_another_is_prepared_and_goes_when_no_longer_expected(
    bundle: Bundle, tmp_path: Path
):
    other = make_bundle(tmp_path, n_items=150)
    async with worker(bundle.base_id) as first, worker(other.base_id) as second, pool_of(first, second) as pool:
        await make_ready(pool, bundle)
        pool.expect([bundle, other])
        await until(lambda: pool.is_ready(other.id))
        await asyncio.sleep(0.1)  # some probes
        assert pool.is_ready(bundle.id)
        assert (await ask(pool, bundle)).kind is OutcomeKind.OK
        pool.expect([other])
        await until(lambda: not pool.is_ready(bundle.id))
        assert f"serves {bundle.base_id}, expected {other.base_id}" in [status.reason for status in pool.status()]


async def test_new_expectation_is_probed_at_once(bundle: Bundle, tmp_path: Path):
    other = make_bundle(tmp_path, n_items=150)
    async with worker(bundle.base_id) as url, pool_of(url, probe_interval_seconds=60) as pool:
        pool.expect([other])
        await until(lambda: "expected" in pool.status()[0].reason)
        await make_ready(pool, bundle)
