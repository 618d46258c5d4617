"""One community that is ten times slower than the others, and slower than the deadline allows."""

from localrec.bench.gateway.bed import Bed
from localrec.bench.stages import ask
from localrec.processes import post
from models.contract.bundle import community_adapter

SLOWER = 10.0
RATE = 20.0  # requests per second: nothing but the slow community makes anybody wait
LONG = 3.0  # rounds


def measure(bed: Bed, port: int, worker_port: int) -> dict[str, float]:
    """The bundle's first community is made slow; of those who are asked for, some belong to it.

    Args:
        bed: where to measure.
        port: of a gateway with pipeline `local`, and a call an adapter.
        worker_port: of its stub worker.
    """
    bodies, rest = bed.bodies(use_cache=False), bed.options.worker_seconds
    bed.open(port, bodies, RATE)  # the stub gets to know the prompts
    post(worker_port, "/stub", {"delay_seconds": rest, "delays": {community_adapter(0): SLOWER * rest}})
    seen = bed.open(port, bodies, RATE, LONG * bed.options.seconds)
    answers = [ask(port, user, use_cache=False) for user in bed.users[: int(RATE)]]
    post(worker_port, "/stub", {})
    return {
        "slow_community_p50_ms": seen.percentile(50),
        "slow_community_p99_ms": seen.percentile(99),
        "slow_community_p99_over_deadline_ms": seen.percentile(99) - bed.options.deadline_ms,
        "slow_community_refused": float(seen.refused + seen.failures),
        "slow_community_degraded_share": sum(answer["degraded"] for answer in answers) / len(answers),
    }
