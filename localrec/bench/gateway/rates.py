"""The highest sustained rate, latency below it, and what is left of it under three times as much.

Loads are open: requests are sent when they are due, and latency counts from then.
"""

import time
from collections.abc import Callable

from localrec.bench.gateway.bed import Bed, metric
from localrec.bench.load import LoadResult
from localrec.bench.stages import ask
from models.contract.errors import LocalRecError

TRIED = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the closed-loop throughput
SUSTAINED = 0.99  # of the requests that were sent, answered with 200
SHARE = 0.7  # of the highest sustained rate, where latency is looked at
OVERLOAD = 3.0  # of the closed-loop throughput
LONG = 2.0  # rounds: percentiles want more requests than rates do
CALM_SECONDS = 60.0  # until a gateway that was pressed does everything for a request again, at most


def below_capacity(bed: Bed, port: int, name: str) -> dict[str, float]:
    """The highest sustained rate, and latency at a share of it; ``name`` is the pipeline's."""
    bodies, deadline_ms = bed.bodies(use_cache=False), bed.options.deadline_ms
    bed.closed(port, bodies)  # warms up
    capacity = bed.closed(port, bodies).requests_per_second
    sustained = highest_sustained(capacity, deadline_ms, lambda rate: bed.open(port, bodies, rate))
    wait_until_calm(bed, port)
    calm = bed.open(port, bodies, SHARE * sustained, LONG * bed.options.seconds)
    return {
        f"{name}_capacity_per_second": capacity,
        f"{name}_sustained_per_second": sustained,
        f"{name}_p50_at_70_ms": calm.percentile(50),
        f"{name}_p99_at_70_ms": calm.percentile(99),
        f"{name}_p99_over_p50_at_70": calm.percentile(99) / calm.percentile(50),
    }


def highest_sustained(capacity: float, deadline_ms: float, at_rate: Callable[[float], LoadResult]) -> float:
    """The highest rate tried at which all but one in a hundred are answered, 99 of these 100 within the deadline.

    Args:
        capacity: closed-loop throughput, requests per second.
        deadline_ms: of the requests.
        at_rate: what an open load of so many requests per second sees.

    Returns:
        The rate; the lowest that is tried where none was sustained.
    """
    for share in TRIED:
        seen = at_rate(share * capacity)
        if len(seen.latencies_ms) >= SUSTAINED * seen.sent and seen.percentile(99) <= deadline_ms:
            return share * capacity
    return TRIED[-1] * capacity


def above_capacity(bed: Bed, port: int) -> dict[str, float]:
    """Overload. The closed-loop throughput right before it is the capacity."""
    bodies, deadline_ms = bed.bodies(use_cache=False), bed.options.deadline_ms
    wait_until_calm(bed, port)
    capacity = bed.closed(port, bodies).requests_per_second
    flood = bed.open(port, bodies, OVERLOAD * capacity, LONG * bed.options.seconds)
    return overload(flood, capacity, deadline_ms)


def wait_until_calm(bed: Bed, port: int) -> None:
    """Until the gateway does everything for a request again: what it saves under pressure would count as speed."""
    until = time.monotonic() + CALM_SECONDS
    while time.monotonic() < until:
        ask(port, bed.users[0], use_cache=False)  # the quality factor moves with requests
        if metric(port, "localrec_quality_factor") == 1.0:
            return
        time.sleep(0.2)
    raise LocalRecError(f"the gateway's quality factor is not 1 after {CALM_SECONDS:.0f} s without load")


def overload(flood: LoadResult, capacity: float, deadline_ms: float) -> dict[str, float]:
    """What came of an overload. Goodput counts lists that came within the deadline."""
    return {
        "overload_sent_per_second": flood.sent / flood.seconds,
        "overload_sent_over_capacity": flood.sent / flood.seconds / capacity,
        "overload_goodput_per_second": flood.within(deadline_ms),
        "overload_goodput_over_capacity": flood.within(deadline_ms) / capacity,
        "overload_refused_share": flood.refused / flood.sent,
        "overload_failures": float(flood.failures),
        "overload_p50_ms": flood.percentile(50),
        "overload_p99_ms": flood.percentile(99),
        "overload_p99_over_deadline_ms": flood.percentile(99) - deadline_ms,
    }
