"""One community that is ten times slower than the others, and slower than the deadline allows."""

from localrec.bench.gateway.bed import Bed
from localrec.bench.stages import ask
from localrec.processes import post
from models.contract.bundle import community_adapter

SLOWER = 10.0
RATE = 20.0  # requests per second: nothing but the slow community makes anybody wait
WARM_UP = 2  # rounds, in which the stub worker gets to know the prompts


def measure(bed: Bed) -> dict[str, float]:
    """Every user's nearest community is late for some, so the first community of the bundle is made slow for all."""
    options = bed.options
    slow, rest = community_adapter(0), options.worker_seconds
    with bed.local("vllm") as (port, worker_port):
        bodies = bed.bodies(use_cache=False)
        bed.open(port, bodies, RATE * WARM_UP)
        post(worker_port, "/stub", {"delay_seconds": rest, "delays": {slow: SLOWER * rest}})
        seen = bed.open(port, bodies, RATE, 2 * options.seconds)
        answers = [ask(port, user, use_cache=False) for user in bed.users[: int(RATE)]]
    return {
        "slow_community_p50_ms": seen.percentile(50),
        "slow_community_p99_ms": seen.percentile(99),
        "slow_community_p99_over_deadline_ms": seen.percentile(99) - options.deadline_ms,
        "slow_community_refused": float(seen.refused + seen.failures),
        "slow_community_degraded_share": sum(answer["degraded"] for answer in answers) / len(answers),
    }
