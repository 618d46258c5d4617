"""What a `local` request costs the gateway itself: its processor time, and its stages on the clock.

One request at a time, the stub worker answers at once, or after a fixed time. The counter of the process has a
resolution of 10 ms, so that hundreds of requests are measured together; what the background loops take is measured
while nothing is asked, for as long, and subtracted.
"""

import time
from typing import get_args

from localrec.bench.gateway.bed import Bed, metric
from localrec.bench.load import load
from localrec.bench.stages import ask, stage_metrics
from localrec.processes import post
from models.contract.errors import LocalRecError
from service.workers.types import WorkerKind

CPU_SECONDS = "process_cpu_seconds_total"
SAMPLED_REQUESTS = 200


def measure(bed: Bed) -> dict[str, float]:
    """CPU time before a worker of each kind, then the stages before one that takes its time."""
    metrics = {}
    for kind in get_args(WorkerKind):
        with bed.local(kind, deadline_ms=1_000) as (port, worker_port):
            metrics[f"local_cpu_{kind}_ms"] = _cpu_ms(bed, port)
            if kind == "vllm":
                metrics |= _stages(bed, port, worker_port)
    return metrics


def _cpu_ms(bed: Bed, port: int) -> float:
    """Processor time of one request."""
    bodies, seconds = bed.bodies(use_cache=False), bed.options.seconds
    load(port, "/recommend", bodies, 1, seconds)  # the stub's rankings are kept from now on
    before = metric(port, CPU_SECONDS)
    busy = load(port, "/recommend", bodies, 1, 2 * seconds)
    between = metric(port, CPU_SECONDS)
    time.sleep(busy.seconds)
    idle = metric(port, CPU_SECONDS) - between
    if busy.failures or busy.refused or not busy.latencies_ms:
        raise LocalRecError(f"{busy.failures} requests failed, {busy.refused} were refused: nothing was measured")
    return (between - before - idle) / busy.sent * 1e3


def _stages(bed: Bed, port: int, worker_port: int) -> dict[str, float]:
    seconds = bed.options.worker_seconds
    users = (bed.users * SAMPLED_REQUESTS)[:SAMPLED_REQUESTS]
    for user in users:
        ask(port, user, use_cache=False)  # the stub's rankings of nine completions are kept from now on
    post(worker_port, "/stub", {"delay_seconds": seconds})
    metrics = stage_metrics([ask(port, user, use_cache=False) for user in users])
    return metrics | {"local_above_worker_p50_ms": metrics["local_total_p50_ms"] - seconds * 1e3}
