"""Twice as many adapters as slots under skewed traffic, against the same with room for all.

The gateway's own pool in this process asks a real engine. A request asks nine adapters, drawn without replacement by a
Zipf law, so that the popular half gets most of the traffic and all of them some.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from localrec.bench.fanout.served import HISTORY, N_BEST, ServedOptions, worker
from localrec.bench.random_model import Shape, random_bundle
from models.contract.bundle import Bundle
from models.contract.errors import LocalRecError
from models.contract.prompts import load_prompts
from models.contract.types import item_numbers
from service.gateway.telemetry import Telemetry
from service.workers.pool import WorkerPool
from service.workers.types import Completion, OutcomeKind, PoolOptions

ADAPTERS = 20  # the global one among them
ASKED = 9
CLIENTS = 8  # each with one request in flight
DEADLINE_SECONDS = 2.0
READY_SECONDS = 60.0


@dataclass
class Count:
    """Requests and ranked lists that came."""

    requests: int = 0
    lists: int = 0


def measure(root: Path, options: ServedOptions) -> dict[str, float]:
    """Lists and requests per second in both cases."""
    bundle = random_bundle(
        root, Shape(options.n_items), name="slots", communities=ADAPTERS - 1, n_users=50, seed=options.seed
    )
    metrics: dict[str, float] = {}
    for name, slots in (("all_resident", ADAPTERS), ("half_the_slots", ADAPTERS // 2)):
        with worker("engine", bundle, options, adapters=()) as port:
            count = asyncio.run(_drive(bundle, port, slots, options))
        metrics |= {
            f"lists_per_second_{name}": count.lists / options.seconds,
            f"requests_per_second_{name}": count.requests / options.seconds,
        }
    metrics["lists_with_half_the_slots"] = (
        metrics["lists_per_second_half_the_slots"] / metrics["lists_per_second_all_resident"]
    )
    return metrics


async def _drive(bundle: Bundle, port: int, slots: int, options: ServedOptions) -> Count:
    async with _pool(bundle, port, slots) as pool:
        await _clients(bundle, pool, options, options.seconds / 2)  # what is asked for finds its place
        return await _clients(bundle, pool, options, options.seconds)


@asynccontextmanager
async def _pool(bundle: Bundle, port: int, slots: int) -> AsyncIterator[WorkerPool]:
    url = f"http://127.0.0.1:{port}"
    pool = WorkerPool(PoolOptions("slots", (url,), bundle.directory.parent, kind="engine", slots=slots), Telemetry())
    try:
        pool.expect([bundle])
        async with asyncio.timeout(READY_SECONDS):
            while not pool.is_ready(bundle.id):  # noqa: ASYNC110 - a pool has no event for it
                await asyncio.sleep(0.05)
        yield pool
    except TimeoutError as exc:
        raise LocalRecError(f"not ready after {READY_SECONDS:g} s: {pool.status()}") from exc
    finally:
        await pool.close()


async def _clients(bundle: Bundle, pool: WorkerPool, options: ServedOptions, seconds: float) -> Count:
    count, until = Count(), time.perf_counter() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(_client(bundle, pool, np.random.default_rng([options.seed, number]), until, count))
    return count


async def _client(bundle: Bundle, pool: WorkerPool, rng: np.random.Generator, until: float, count: Count) -> None:
    model, prompts, loop = bundle.manifest.model, load_prompts(bundle), asyncio.get_running_loop()
    popularity = 1 / np.arange(1, len(model.adapters) + 1)
    while time.perf_counter() < until:
        asked = rng.choice(model.adapters, ASKED, replace=False, p=popularity / popularity.sum())
        history = item_numbers(rng.choice(model.n_items, HISTORY, replace=False))
        completion = Completion(prompts.prompt(history), N_BEST, history, model.n_items)
        outcomes = await pool.fan_out(bundle.id, asked.tolist(), completion, loop.time() + DEADLINE_SECONDS)
        count.requests += 1
        count.lists += sum(outcome.kind is OutcomeKind.OK for outcome in outcomes)
