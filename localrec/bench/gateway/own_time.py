"""What a `local` request costs the gateway itself: its processor time, and its stages on the clock.

One request at a time, the stub worker answers at once, or after a fixed time. The counter of the process has a
resolution of 10 ms, so that hundreds of requests are measured together; what the background loops take is measured
while nothing is asked, for as long, and subtracted.
"""

import time

from localrec.bench.gateway.bed import Bed, metric
from localrec.bench.load import load
from localrec.bench.stages import ask, stage_metrics
from localrec.processes import post
from models.contract.errors import LocalRecError

CPU_SECONDS = "process_cpu_seconds_total"
SAMPLED_REQUESTS = 200
DEADLINE_MS = 1_000  # every call is let end: what is measured is its length


def cpu_ms(bed: Bed, port: int) -> float:
    """Processor time of one request to a gateway with pipeline `local`."""
    bodies, seconds = bed.bodies(use_cache=False, deadline_ms=DEADLINE_MS), bed.options.seconds
    load(port, "/recommend", bodies, 1, seconds)  # the stub's rankings are kept from now on
    before = metric(port, CPU_SECONDS)
    busy = load(port, "/recommend", bodies, 1, 2 * seconds)
    between = metric(port, CPU_SECONDS)
    time.sleep(busy.seconds)
    idle = metric(port, CPU_SECONDS) - between
    if busy.failures or busy.refused or not busy.latencies_ms:
        raise LocalRecError(f"{busy.failures} requests failed, {busy.refused} were refused: nothing was measured")
    return (between - before - idle) / busy.sent * 1e3


def stages(bed: Bed, port: int, worker_port: int) -> dict[str, float]:
    """Medians of the stages, before a worker of vLLM's kind that takes its time."""
    seconds = bed.options.worker_seconds
    users = (bed.users * SAMPLED_REQUESTS)[:SAMPLED_REQUESTS]
    for user in users:
        ask(
            port, user, use_cache=False, deadline_ms=DEADLINE_MS
        )  # the stub's rankings of nine completions are kept from now on
    post(worker_port, "/stub", {"delay_seconds": seconds})
    metrics = stage_metrics([ask(port, user, use_cache=False, deadline_ms=DEADLINE_MS) for user in users])
    return metrics | {"local_above_worker_p50_ms": metrics["local_total_p50_ms"] - seconds * 1e3}
