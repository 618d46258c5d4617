"""One step of the search: a rate under load for a while, against the service level."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from localrec.bench.capacity.cost import Cost, costs
from localrec.bench.capacity.usage import Service
from localrec.bench.load import LoadResult, load


@dataclass(frozen=True)
class Level:
    """The service level.

    Args:
        deadline_ms: of each request; the 99th percentile from when it was due must be below.
        error_share: requests without a list, of all, at most.
        degraded_share: lists in which something planned is missing, of all requests, at most.
    """

    deadline_ms: int = 200
    error_share: float = 0.001
    degraded_share: float = 0.01


@dataclass(frozen=True)
class StepOptions:
    """How a rate is measured.

    Args:
        seconds: at least; requests: at least.
        warm_up_seconds: before it, at the same rate.
        connections: at one time, at most; more requests wait, and their latency counts.
        tries: a rate fails when it has failed so many times, one after the other.
        cores: of the machine.
        seed: of the times at which requests are due.
    """

    seconds: float = 10.0
    requests: int = 500
    warm_up_seconds: float = 3.0
    connections: int = 512
    tries: int = 2
    cores: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """What came of a rate, and what it broke of the service level; empty: it holds. ``refused_share`` is the part of
    the errors that the service turned away.
    """

    rate: float
    answered_per_second: float
    sent: int
    p50_ms: float
    p99_ms: float
    error_share: float
    refused_share: float
    degraded_share: float
    broken: tuple[str, ...]
    costs: tuple[Cost, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.broken

    @property
    def words(self) -> str:
        """A line for people."""
        return (
            f"{self.rate:8.1f} requests/s: p50 {self.p50_ms:6.1f}  p99 {self.p99_ms:6.1f} ms, errors "
            f"{self.error_share:.2%} ({self.refused_share:.2%} refused), degraded {self.degraded_share:.2%}, "
            f"n {self.sent}: "
            f"{'holds' if self.holds else 'fails: ' + ', '.join(self.broken)}"
        )

    def record(self) -> dict[str, Any]:
        """The same as JSON's types."""
        return asdict(self)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Self:
        """The step of a record."""
        parts = tuple(Cost(**cost) for cost in record["costs"])
        return cls(**(record | {"broken": tuple(record["broken"]), "costs": parts}))


@dataclass(frozen=True)
class Bench:
    """A service, and what it is asked.

    Args:
        service: whose use is read.
        host, port: of the gateway.
        bodies: taken in turn.
    """

    service: Service
    host: str
    port: int
    bodies: Sequence[bytes]

    def measure(self, rate: float, level: Level, options: StepOptions) -> Step:
        """Try a rate, again where it fails."""
        for attempt in range(options.tries):
            step = self._once(rate, level, options, options.seed + attempt)
            if step.holds:
                break
        return step

    def _once(self, rate: float, level: Level, options: StepOptions, seed: int) -> Step:
        self._load(rate, options.warm_up_seconds, options.connections, seed)
        before = self.service.usage()
        seconds = max(options.seconds, options.requests / rate)
        result = self._load(rate, seconds, options.connections, seed)
        after = self.service.usage()
        answered = len(result.latencies_ms)
        found = (
            costs(
                before,
                after,
                requests=answered,
                seconds=result.seconds,
                load_cpu_seconds=result.cpu_seconds,
                cores=options.cores,
            )
            if answered
            else []
        )
        return judged(rate, result, level, seconds, tuple(found))

    def _load(self, rate: float, seconds: float, connections: int, seed: int) -> LoadResult:
        return load(self.port, "/recommend", self.bodies, connections, seconds, rate, poisson_seed=seed, host=self.host)


def judged(rate: float, result: LoadResult, level: Level, seconds: float, found: tuple[Cost, ...] = ()) -> Step:
    """What a load came to, against the service level. It fails, too, where its answers took longer than ``seconds`` by
    more than a deadline: they pile up.
    """
    p50, p99 = result.percentile(50), result.percentile(99)
    errors = (result.refused + result.failures) / result.sent
    degraded = result.degraded / result.sent
    broken = []
    if not p99 <= level.deadline_ms:
        broken.append("no list" if math.isnan(p99) else f"p99 {p99:.0f} ms")
    if errors > level.error_share:
        broken.append(f"errors {errors:.2%}")
    if degraded > level.degraded_share:
        broken.append(f"degraded {degraded:.2%}")
    if result.seconds > seconds + level.deadline_ms / 1e3:
        broken.append(f"ended {result.seconds - seconds:.1f} s late")
    refused = result.refused / result.sent
    return Step(
        rate, result.requests_per_second, result.sent, p50, p99, errors, refused, degraded, tuple(broken), found
    )
