"""``localrec bench soak``: a whole service under mixed load while two bundles take turns.

Both bundles have the same base model, so one worker holds the adapters of both, loads one bundle's and unloads the
other's at every turn. Every answer is explained, and compared voter by voter with what PEFT ranks offline for the same
user and the bundle that the answer names: one adapter that answered for another one would show in its ranks.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from redis import Redis

from localrec.bench.mixed import Request, draw
from localrec.bench.random_model import Shape, two_versions
from localrec.bench.report import report
from localrec.bench.synthetic import SyntheticUsers, users_of, write_users
from localrec.bench.truth import Truth
from localrec.pointing import connect
from localrec.stack import Stack, WorkerKind, running_stack
from models.contract.bundle import Bundle
from models.contract.errors import LocalRecError
from models.pointer import activate

DEGRADED_SHARE = 0.01  # of the answers, at most
MEMORY_GROWTH = 1.05  # from the second quarter of the time to the last
SAMPLE_SECONDS = 5.0
PROGRESS_SAMPLES = 6
PAGE_MIB = 4096 / 2**20


@dataclass(frozen=True)
class SoakOptions:
    """What is run.

    Args:
        seconds: how long.
        swap_seconds: how often the other bundle becomes the current one.
        rate: requests per second, sent when they are due.
        deadline_ms: of each request.
        workers: our engine, or vLLM.
        n_items, n_users, communities: of both bundles.
        seed: of everything.
    """

    seconds: float = 600.0
    swap_seconds: float = 20.0
    rate: float = 20.0
    deadline_ms: int = 1_000
    workers: WorkerKind = "engine"
    n_items: int = 2_000
    n_users: int = 200
    communities: int = 9
    seed: int = 0


@dataclass
class Tally:
    """What came of the requests.

    ``latencies_ms`` are those of lists, ``memory_mib`` is by process, over time; ``swaps`` counts the pointer's moves,
    ``switches`` the times that answers began to come from another bundle.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    memory_mib: dict[str, list[float]] = field(default_factory=lambda: {"worker": [], "gateway": []})
    swaps: int = 0
    switches: int = 0
    bundle_id: str = ""

    def served(self, bundle_id: str) -> None:
        """An answer came from this bundle."""
        self.switches += self.bundle_id not in {"", bundle_id}
        self.bundle_id = bundle_id


def run(options: SoakOptions) -> dict[str, Any]:
    """Run, print a table, and return ``{"bench", "commit", "hardware", "metrics"}``.

    Raises LocalRecError where a request failed or a list was wrong; the table is printed all the same.
    """
    with tempfile.TemporaryDirectory(prefix="lr-") as temporary:
        directory = Path(temporary)
        bundles = two_versions(
            directory / "bundles",
            Shape(n_items=options.n_items),
            name="soak",
            communities=options.communities,
            n_users=options.n_users,
            seed=options.seed,
        )
        users = users_of(bundles[0])
        truth = Truth(bundles, users)

        def write_both(_: Bundle, redis: Redis) -> None:
            for bundle in bundles:
                write_users(redis, bundle, users)

        with running_stack(bundles[0], directory, workers=options.workers, publish=write_both) as stack:
            tally = asyncio.run(_soak(stack, [bundle.id for bundle in bundles], users, truth, options))
    record = report("soak", _metrics(tally, options))
    if failures := _failures(tally, record["metrics"]):
        raise LocalRecError(f"the soak failed: {'; '.join(failures)}")
    return record


def _failures(tally: Tally, metrics: Mapping[str, float]) -> list[str]:
    """What must not happen, and did."""
    allowed = {"right", "refused", "degraded"}
    found = [f"{n} x {name}" for name, n in tally.outcomes.items() if name not in allowed]
    if tally.outcomes["degraded"] > DEGRADED_SHARE * tally.outcomes.total():
        found.append(f"{tally.outcomes['degraded']} answers are degraded: {tally.reasons.most_common(3)}")
    if tally.switches < tally.swaps - 1:  # the last one may have come too late
        found.append(f"the pointer moved {tally.swaps} times, the bundle in service {tally.switches} times")
    for name in tally.memory_mib:
        early, late = metrics[f"{name}_memory_mib_early"], metrics[f"{name}_memory_mib_late"]
        if late > MEMORY_GROWTH * early:
            found.append(f"the {name}'s memory grew from {early:.0f} to {late:.0f} MiB")
    return found


async def _soak(
    stack: Stack, bundle_ids: Sequence[str], users: SyntheticUsers, truth: Truth, options: SoakOptions
) -> Tally:
    tally, rng = Tally(), np.random.default_rng(options.seed)
    url, started = f"http://127.0.0.1:{stack.gateway_port}/recommend", time.perf_counter()
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        asyncio.TaskGroup() as asked,
        _beside(_swap(stack.redis_url, bundle_ids, options.swap_seconds, tally), _sample(stack, tally)),
    ):
        for number in range(int(options.seconds * options.rate)):
            await asyncio.sleep(started + number / options.rate - time.perf_counter())
            request = draw(users, options.deadline_ms, rng)
            asked.create_task(_ask(session, url, request, truth, tally))
    return tally


@asynccontextmanager
async def _beside(*work: Any) -> AsyncIterator[None]:
    """Endless work, ended with the context."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def _ask(session: aiohttp.ClientSession, url: str, request: Request, truth: Truth, tally: Tally) -> None:
    began = time.perf_counter()
    try:
        async with session.post(url, json=request.body) as response:
            status, answer = response.status, await response.json()
    except (aiohttp.ClientError, TimeoutError) as exc:
        tally.outcomes[type(exc).__name__] += 1
        return
    if request.user is None:
        tally.outcomes["refused" if status == 422 else f"mistake answered with {status}"] += 1
    elif status != 200:
        tally.outcomes[f"status {status}"] += 1
    else:
        tally.latencies_ms.append((time.perf_counter() - began) * 1e3)
        tally.reasons.update(answer["reasons"])
        tally.served(answer["model_version"])
        tally.outcomes[truth.judge(answer, request)] += 1


async def _swap(redis_url: str, bundle_ids: Sequence[str], seconds: float, tally: Tally) -> None:
    with connect(redis_url) as redis:
        while True:
            await asyncio.sleep(seconds)
            tally.swaps += 1
            activate(bundle_ids[tally.swaps % len(bundle_ids)], redis)


async def _sample(stack: Stack, tally: Tally) -> None:
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        for name, process in (("worker", stack.worker), ("gateway", stack.gateway)):
            tally.memory_mib[name].append(_resident_mib(process.pid))
        if len(tally.memory_mib["worker"]) % PROGRESS_SAMPLES == 0:
            memory = ", ".join(f"{name} {values[-1]:.0f} MiB" for name, values in tally.memory_mib.items())
            print(
                f"  {sum(tally.outcomes.values())} requests {dict(tally.outcomes)}, {tally.switches} switches, {memory}"
            )


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB


def _metrics(tally: Tally, options: SoakOptions) -> dict[str, float]:
    outcomes = dict.fromkeys(("right", "wrong", "degraded", "refused"), 0) | tally.outcomes
    metrics = {"seconds": options.seconds, "requests_per_second": options.rate, "pointer_moves": float(tally.swaps)}
    metrics["bundle_switches"] = float(tally.switches)
    metrics |= {f"answers_{name}".replace(" ", "_"): float(n) for name, n in outcomes.items()}
    metrics |= {f"p{q}_ms": float(np.percentile(tally.latencies_ms, q)) for q in (50, 99)}
    for name, values in tally.memory_mib.items():
        metrics |= {f"{name}_memory_mib_{when}": value for when, value in _early_and_late(values).items()}
    for reason, n in tally.reasons.most_common(8):
        print(f"  reason {reason}: {n}")
    return metrics


def _early_and_late(values: Sequence[float]) -> dict[str, float]:
    """Median memory of the second quarter, when all is loaded, and of the last."""
    quarter = max(len(values) // 4, 1)
    return {
        "early": float(np.median(values[quarter : 2 * quarter] or values)),
        "late": float(np.median(values[-quarter:])),
    }
