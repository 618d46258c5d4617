"""Worker pools before stub workers, all in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from support.processes import free_port

from localrec.bench.stub_worker import create_stub, stub_scores
from models.contract.bundle import Bundle
from models.contract.index import top_n
from models.contract.types import item_numbers
from service.gateway.telemetry import Telemetry
from service.workers.completion import Completion
from service.workers.pool import WorkerPool
from service.workers.types import Inquiry, Outcome, PoolOptions

N_ITEMS = 200
ASKED = Completion(prompt=[N_ITEMS, 1], candidates=10, excluded=item_numbers([]), n_items=N_ITEMS)


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stub:
    """A stub worker, as the test speaks with it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def order(self, **orders: Any) -> None:
        """What to do from now on; without arguments, its duty."""
        async with self._session.post(f"{self.url}/stub", json=orders) as response:
            assert response.status == 200

    async def counts(self) -> dict[str, Any]:
        """What it was asked so far."""
        async with self._session.get(f"{self.url}/stub") as response:
            counts: dict[str, Any] = await response.json()
            return counts

    async def load(self, *names: str) -> None:
        """As another gateway would, that is no more."""
        for name in names:
            body = {"lora_name": name, "lora_path": "/elsewhere"}
            async with self._session.post(f"{self.url}/v1/load_lora_adapter", json=body) as response:
                assert response.status == 200

    async def unload(self, name: str) -> None:
        """Behind the pool's back."""
        async with self._session.post(f"{self.url}/v1/unload_lora_adapter", json={"lora_name": name}) as response:
            assert response.status == 200


@asynccontextmanager
async def worker(base: str, n_items: int = N_ITEMS, port: int = 0, **orders: Any) -> AsyncIterator[Stub]:
    """A stub worker, until the end of the context."""
    port = port or free_port()
    config = uvicorn.Config(create_stub(base, n_items), host="127.0.0.1", port=port, log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        async with aiohttp.ClientSession() as session:
            stub = Stub(f"http://127.0.0.1:{port}", session)
            await stub.order(**orders)
            yield stub
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def pool_of(
    *urls: str, telemetry: Telemetry | None = None, bundle_root: Path = Path("/bundles"), **options: Any
) -> AsyncIterator[WorkerPool]:
    """A pool that looks at its workers all the time."""
    options = {"probe_interval_seconds": 0.02} | options
    pool = WorkerPool(PoolOptions("p", urls, bundle_root, **options), (telemetry or Telemetry()).pools)
    try:
        yield pool
    finally:
        await pool.close()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that announces itself to nobody."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a pool has no event for it
            await asyncio.sleep(0.01)


async def make_ready(pool: WorkerPool, *bundles: Bundle, seconds: float = 5.0) -> None:
    """Expect bundles and wait until all of them can be served."""
    pool.expect(bundles)
    await until(lambda: all(pool.is_ready(bundle.id) for bundle in bundles), seconds)


async def make_settled(pool: WorkerPool, *bundles: Bundle, seconds: float = 5.0) -> None:
    """Expect bundles and wait until all is where it has a place, though some may have none, or was refused."""
    pool.expect(bundles)
    ids = {bundle.id for bundle in bundles}
    await until(lambda: all(ids <= set(status.bundles) for status in pool.status()), seconds)


async def make_all_ready(pool: WorkerPool, bundle: Bundle) -> None:
    """The same on every replica."""
    await make_ready(pool, bundle)
    await until(lambda: all(bundle.id in status.bundles for status in pool.status()))


async def ask(
    pool: WorkerPool, bundle: Bundle, *adapters: str, seconds: float = 5.0, inquiry: Inquiry = ASKED
) -> list[Outcome]:
    """Outcomes of one fan-out."""
    return await pool.fan_out(bundle.id, adapters, inquiry, asyncio.get_running_loop().time() + seconds)


async def kinds(pool: WorkerPool, bundle: Bundle, adapters: Sequence[str], seconds: float = 5.0) -> list[str]:
    """How the calls of one fan-out ended."""
    return [outcome.kind for outcome in await ask(pool, bundle, *adapters, seconds=seconds)]


def expected_items(bundle: Bundle, adapter: str, completion: Completion = ASKED) -> list[int]:
    """What a stub ranks for an adapter."""
    scores = stub_scores(bundle.adapter_name(adapter), tuple(completion.prompt), completion.n_items)
    items: list[int] = top_n(scores[: completion.n_items], completion.candidates, completion.excluded).items.tolist()
    return items


def metric(telemetry: Telemetry, line_start: str) -> float:
    """Sum of the samples whose line starts so."""
    lines = telemetry.exposition().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(line_start))
