"""The cost model: what a request takes of each part, and how many requests each part could carry by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localrec.bench.capacity.usage import PartUse, Usage

LOAD, MACHINE, OTHERS = "load generator", "machine", "other processes"
QUIET = 0.1  # share of the machine that other processes may take


@dataclass(frozen=True)
class Cost:
    """Of one part at the limit.

    Args:
        cpu_ms: CPU time of a request, in milliseconds.
        machine_share: of all cores' time.
        busy_share: of the time of its narrowest place: the event loop, the pass through the model, Redis' one thread.
            None: it has no such place.
        alone: requests per second that it could carry at this price: those at the limit, over its busy share. A model
            that batches gets cheaper as it gets busier, and carries more.
    """

    part: str
    cpu_ms: float
    machine_share: float
    busy_share: float | None
    alone: float | None


def costs(
    before: Usage, after: Usage, *, requests: int, seconds: float, load_cpu_seconds: float, cores: int
) -> list[Cost]:
    """The price of each part, of the machine as a whole, and of what else ran on it.

    Args:
        before, after: a little before the requests came, and after.
        requests: that were answered.
        seconds: in which they came.
        load_cpu_seconds: what asking for them took.
        cores: of the machine.
    """
    found = [_cost(name, before.parts[name], after.parts[name], requests, seconds, cores) for name in after.parts]
    if after.machine_seconds is None or before.machine_seconds is None:
        return found
    found.append(_plain(LOAD, load_cpu_seconds, requests, seconds * cores))
    ours = sum(cost.cpu_ms for cost in found) * requests / 1e3
    others = max(after.machine_seconds - before.machine_seconds - ours, 0.0)
    share = ours / (seconds * cores)
    found.append(Cost(MACHINE, ours / requests * 1e3, share, share, requests / seconds / share))
    found.append(_plain(OTHERS, others, requests, (after.at - before.at) * cores))
    return found


def limit(found: Sequence[Cost]) -> Cost:
    """What limits first: the part that could carry the fewest requests."""
    return min((cost for cost in found if cost.alone is not None), key=lambda cost: cost.alone or 0.0)


def is_quiet(found: Sequence[Cost]) -> bool | None:
    """Whether other processes left the machine alone; None: unknown."""
    others = _others(found)
    return None if others is None else others <= QUIET


def metrics_of(found: Sequence[Cost]) -> Mapping[str, float]:
    """The same by name, for the record."""
    metrics = {}
    for cost in found:
        name = cost.part.replace(" ", "_")
        metrics[f"{name}_cpu_ms"] = cost.cpu_ms
        if cost.part != MACHINE:
            metrics[f"{name}_machine_share"] = cost.machine_share
        if cost.alone is not None and cost.busy_share is not None:
            metrics[f"{name}_busy_share"] = cost.busy_share
            metrics[f"{name}_alone_per_second"] = cost.alone
    return metrics


def table(found: Sequence[Cost]) -> str:
    """The table, what limits first in its last line."""
    lines = [f"{'part':<16}{'CPU ms/request':>15}{'of the machine':>15}{'busy':>8}{'alone, requests/s':>19}"]
    for cost in found:
        busy = "" if cost.busy_share is None else f"{cost.busy_share:.0%}"
        alone = "" if cost.alone is None else f"{cost.alone:.0f}"
        lines.append(f"{cost.part:<16}{cost.cpu_ms:>15.2f}{cost.machine_share:>15.0%}{busy:>8}{alone:>19}")
    lines.append(f"limits first: {limit(found).part}")
    others = _others(found)
    if others is not None and others > QUIET:
        lines.append(f"not a quiet machine: other processes took {others:.0%} of it; the rate is what they left")
    return "\n".join(lines)


def _cost(name: str, then: PartUse, now: PartUse, requests: int, seconds: float, cores: int) -> Cost:
    cpu_seconds = now.cpu_seconds - then.cpu_seconds
    told = now.busy_seconds is not None and then.busy_seconds is not None
    busy_seconds = (now.busy_seconds or 0.0) - (then.busy_seconds or 0.0) if told else cpu_seconds
    busy = busy_seconds / (seconds * now.lanes)
    alone = requests / seconds / busy if busy > 0 else None
    return Cost(name, cpu_seconds / requests * 1e3, cpu_seconds / (seconds * cores), busy, alone)


def _plain(name: str, cpu_seconds: float, requests: int, core_seconds: float) -> Cost:
    return Cost(name, cpu_seconds / requests * 1e3, cpu_seconds / core_seconds, None, None)


def _others(found: Sequence[Cost]) -> float | None:
    return next((cost.machine_share for cost in found if cost.part == OTHERS), None)
