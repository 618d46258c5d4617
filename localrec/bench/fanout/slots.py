"""Twice as many adapters as slots under skewed traffic, against the same with room for all.

The gateway's own pool in this process asks a real engine. A request asks nine adapters, drawn without replacement by a
Zipf law, so that the popular half gets most of the traffic and all of them some. Requests come at one rate in both
cases, half of what is possible with room for all: that an adapter is not there is quickly said, and is no speed.
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
from service.workers.completion import Completion
from service.workers.pool import WorkerPool
from service.workers.types import OutcomeKind, PoolOptions

ADAPTERS = 20  # the global one among them
ASKED = 9
CLIENTS = 8  # in the closed loop that finds what is possible
LOAD = 0.5  # of that
DEADLINE_SECONDS = 2.0
READY_SECONDS = 60.0


@dataclass
class Count:
    """Requests, and ranked lists that came."""

    requests: int = 0
    lists: int = 0


def measure(root: Path, options: ServedOptions) -> dict[str, float]:
    """Lists a request in both cases, at the same rate."""
    bundle = random_bundle(
        root, Shape(options.n_items), name="slots", communities=ADAPTERS - 1, n_users=50, seed=options.seed
    )
    with worker("engine", bundle, options, adapters=()) as port:
        rate, resident = asyncio.run(_all_resident(bundle, port, options))
    with worker("engine", bundle, options, adapters=()) as port:
        short = asyncio.run(_half_the_slots(bundle, port, rate, options))
    return {
        "slots_requests_per_second": rate,
        "lists_a_request_all_resident": resident.lists / resident.requests,
        "lists_a_request_half_the_slots": short.lists / short.requests,
        "lists_with_half_the_slots": short.lists / resident.lists,
    }


async def _all_resident(bundle: Bundle, port: int, options: ServedOptions) -> tuple[float, Count]:
    """The rate of both cases, and what came at it."""
    async with _pool(bundle, port, ADAPTERS) as pool:
        ask = _Asker(bundle, pool, options)
        await ask.in_a_loop(options.seconds / 2)
        rate = LOAD * (await ask.in_a_loop(options.seconds / 2)).requests / (options.seconds / 2)
        return rate, await ask.at_rate(rate, options.seconds)


async def _half_the_slots(bundle: Bundle, port: int, rate: float, options: ServedOptions) -> Count:
    async with _pool(bundle, port, ADAPTERS // 2) as pool:
        ask = _Asker(bundle, pool, options)
        await ask.at_rate(rate, options.seconds)  # what is asked for finds its place
        return await ask.at_rate(rate, options.seconds)


@asynccontextmanager
async def _pool(bundle: Bundle, port: int, slots: int) -> AsyncIterator[WorkerPool]:
    url = f"http://127.0.0.1:{port}"
    pool = WorkerPool(
        PoolOptions("slots", (url,), bundle.directory.parent, kind="engine", slots=slots), Telemetry().pools
    )
    try:
        pool.expect([bundle])
        async with asyncio.timeout(READY_SECONDS):
            # Not pool.is_ready: with half the slots a bundle never is, and the gateway would say so.
            while not any(bundle.id in status.bundles for status in pool.status()):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.05)
        yield pool
    except TimeoutError as exc:
        raise LocalRecError(f"not ready after {READY_SECONDS:g} s: {pool.status()}") from exc
    finally:
        await pool.close()


class _Asker:
    """Asks a pool for random users and adapters."""

    def __init__(self, bundle: Bundle, pool: WorkerPool, options: ServedOptions) -> None:
        self._bundle, self._pool, self._prompts = bundle, pool, load_prompts(bundle)
        self._rng = np.random.default_rng(options.seed)
        popularity = 1 / np.arange(1, ADAPTERS + 1)
        self._popularity = popularity / popularity.sum()

    async def in_a_loop(self, seconds: float) -> Count:
        """Each client asks when its last answer is in."""
        count, until = Count(), time.perf_counter() + seconds

        async def client() -> None:
            while time.perf_counter() < until:
                await self._ask(count)

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(client())
        return count

    async def at_rate(self, rate: float, seconds: float) -> Count:
        """Requests are sent when they are due, whatever came of the others."""
        count, started = Count(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(started + number / rate - time.perf_counter())
                group.create_task(self._ask(count))
        return count

    async def _ask(self, count: Count) -> None:
        model = self._bundle.manifest.model
        asked = self._rng.choice(model.adapters, ASKED, replace=False, p=self._popularity).tolist()
        history = item_numbers(self._rng.choice(model.n_items, HISTORY, replace=False))
        completion = Completion(self._prompts.prompt(history), N_BEST, history, model.n_items)
        deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        outcomes = await self._pool.fan_out(self._bundle.id, asked, completion, deadline)
        count.requests += 1
        count.lists += sum(outcome.kind is OutcomeKind.OK for outcome in outcomes)
