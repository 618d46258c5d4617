"""Replicas: placement, loads at run time, limits; against the stub in the same loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from support.bundles import make_bundle
from support.processes import free_port

from localrec.bench.stub_worker import create_stub
from models.contract.bundle import Bundle
from models.contract.types import item_numbers
from service.gateway.telemetry import Telemetry
from service.workers.pool import PoolOptions, WorkerPool
from service.workers.types import Completion, Outcome, OutcomeKind

ASKED = Completion(prompt=[200, 1], candidates=10, excluded=item_numbers([]), n_items=200)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path)


@asynccontextmanager
async def worker(base: str) -> AsyncIterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_stub(base, 200), host="127.0.0.1", port=port, log_config=None))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def pool_of(*urls: str, **options: int) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(PoolOptions("p", urls, Path("/bundles"), **options), Telemetry())
    try:
        yield pool
    finally:
        await pool.close()


async def ask(pool: WorkerPool, bundle: Bundle, adapter: str = "c00", seconds: float = 5.0) -> Outcome:
    return await pool.complete(bundle.id, adapter, ASKED, asyncio.get_running_loop().time() + seconds)


async def test_prepares_and_answers(bundle: Bundle):
    async with worker(bundle.id) as url, pool_of(url) as pool:
        assert (await ask(pool, bundle)).kind is OutcomeKind.UNREACHABLE
        assert await pool.prepare(bundle)
        outcome = await ask(pool, bundle)
        assert (outcome.kind, len(outcome.ranking)) == (OutcomeKind.OK, 10)
        assert [status.reason for status in pool.status()] == [""]


async def test_one_dead_replica_does_not_take_the_pool_down(bundle: Bundle):
    async with worker(bundle.id) as url, pool_of(f"http://127.0.0.1:{free_port()}", url) as pool:
        assert await pool.prepare(bundle)
        outcomes = [await ask(pool, bundle, f"c0{number}") for number in range(4)]
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.OK}
        assert sorted(bool(status.reason) for status in pool.status()) == [False, True]


async def test_bundle_that_was_never_prepared_is_not_asked_for(bundle: Bundle):
    async with worker(bundle.id) as url, pool_of(url) as pool:
        await pool.prepare(bundle)
        deadline = asyncio.get_running_loop().time() + 1
        assert (await pool.complete("other", "c00", ASKED, deadline)).kind is OutcomeKind.UNREACHABLE


async def test_deadline_in_the_past_is_a_timeout_at_once(bundle: Bundle):
    async with worker(bundle.id) as url, pool_of(url, failures_to_open=1) as pool:
        await pool.prepare(bundle)
        assert (await ask(pool, bundle, seconds=-1)).kind is OutcomeKind.TIMEOUT
        assert (await ask(pool, bundle)).kind is OutcomeKind.OK


async def test_breaker_opens_and_lets_one_try_after_the_cooldown(bundle: Bundle):
    async with pool_of("", failures_to_open=2, cooldown_seconds=60) as pool:
        replica = pool._replicas[0]  # a replica that was ready and has just died
        await pool.prepare(bundle)
        replica.client.url, replica.bundle_id = f"http://127.0.0.1:{free_port()}", bundle.id
        details = [(await ask(pool, bundle)).detail for _ in range(3)]
        assert details[2] == "breaker is open"
        assert "breaker is open" not in details[:2]
