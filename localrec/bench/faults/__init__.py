"""``localrec bench faults``: what clients see while the parts of a real service fail, one after the other.

Requests come at a constant rate all the time. Every list is compared with what its bundle's voters rank offline
(:mod:`localrec.bench.truth`), a degraded one with what is left of them.
"""

import asyncio
import math
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from localrec.bench.faults.clients import Clients
from localrec.bench.faults.service import Fault, Service, running_service
from localrec.bench.faults.tally import Phase, Row, failures, row, table
from localrec.bench.mixed import draw
from localrec.bench.random_model import Shape, two_versions
from localrec.bench.report import report
from localrec.bench.synthetic import SyntheticUsers, users_of
from localrec.bench.truth import Truth

RECOVERY_SECONDS = 60.0  # that is waited for at most
QUIET = "no fault"
LATE = 2.0  # deadlines that a slow engine takes


@dataclass(frozen=True)
class FaultsOptions:
    """What is run.

    Args:
        seconds: how long each fault lasts.
        calm_seconds: how long requests go on after the service has recovered, and before the first fault.
        rate: requests per second, sent when they are due.
        deadline_ms: of each request.
        n_items, n_users, communities: of both bundles.
        seed: of everything.
    """

    seconds: float = 4.0
    calm_seconds: float = 2.0
    rate: float = 50.0
    deadline_ms: int = 500
    n_items: int = 2_000
    n_users: int = 200
    communities: int = 9
    seed: int = 0


def run(options: FaultsOptions) -> dict[str, Any]:
    """Run, print a table, and return the record.

    Beside the metrics it has the rows as ``phases``, and as ``failures`` what must not happen and did: a request was
    lost, a list was wrong, the service did not recover.
    """
    with tempfile.TemporaryDirectory(prefix="lr-") as temporary:
        directory = Path(temporary)
        bundles = two_versions(
            directory / "bundles",
            Shape(n_items=options.n_items),
            name="faults",
            communities=options.communities,
            n_users=options.n_users,
            seed=options.seed,
        )
        users = users_of(bundles[0])
        truth = Truth(bundles, users)
        with running_service(bundles, users, directory) as service:
            rows = asyncio.run(_inflict_all(service, users, truth, options))
    print(table(rows))
    record = report("faults", _totals(rows))
    record["phases"] = {each.phase.name: each.metrics() | {"reasons": dict(each.reasons)} for each in rows}
    record["failures"] = failures(rows)
    return record


async def _inflict_all(service: Service, users: SyntheticUsers, truth: Truth, options: FaultsOptions) -> list[Row]:
    clients = Clients(service.ports, truth.judge, options.deadline_ms / 1e3)
    rng, stop = np.random.default_rng(options.seed), asyncio.Event()
    late_seconds = LATE * options.deadline_ms / 1e3
    async with service.proxy.listening(service.proxy_port), asyncio.TaskGroup() as group:
        group.create_task(clients.send(lambda: draw(users, options.deadline_ms, rng), options.rate, stop))
        phases = [await _quiet(options)]
        phases += [await _inflict(fault, clients, options) for fault in service.faults(late_seconds)]
        stop.set()
    for each in clients.seen:
        if each.end in {"failed", "wrong"}:
            print(f"  {each.end}: {each.detail[:400]}")
    return [row(phase, clients.seen) for phase in phases]


async def _quiet(options: FaultsOptions) -> Phase:
    began = time.perf_counter()
    await asyncio.sleep(options.calm_seconds)
    return Phase(QUIET, began, began, time.perf_counter())


async def _inflict(fault: Fault, clients: Clients, options: FaultsOptions) -> Phase:
    print(f"  {fault.name} …", flush=True)
    began = time.perf_counter()
    await asyncio.to_thread(fault.begin)
    if fault.end is not None:
        await asyncio.sleep(options.seconds)
        await asyncio.to_thread(fault.end)
    ended = time.perf_counter()
    recovered = await _recovered(fault, clients, ended)
    await asyncio.sleep(options.calm_seconds)
    return Phase(fault.name, began, ended, time.perf_counter(), recovered)


async def _recovered(fault: Fault, clients: Clients, ended: float) -> float:
    """Seconds from a fault's end to the end of the first request, sent after it, that shows that it is over."""
    while time.perf_counter() < ended + RECOVERY_SECONDS:
        shown = [seen.ended_at for seen in clients.seen if seen.sent_at >= ended and fault.shows_recovery(seen)]
        if shown:
            return min(shown) - ended
        await asyncio.sleep(0.05)
    return math.nan


def _totals(rows: Sequence[Row]) -> dict[str, float]:
    names = ("sent", "answered", "degraded", "shed", "mistakes", "failed", "wrong")
    metrics = {f"total_{name}": sum(each.metrics()[name] for each in rows) for name in names}
    return metrics | {f"{_slug(each.phase.name)}_recovered_seconds": each.phase.recovered_seconds for each in rows[1:]}


def _slug(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower())
