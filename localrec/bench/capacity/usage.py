"""What the parts of a service have used so far: CPU time, and the time in which they could do nothing else."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from redis import Redis

from localrec.bench.scrape import Scrape, parse
from localrec.stack import Stack
from models.contract.errors import LocalRecError

CPU_METRIC, BATCH_METRIC = "process_cpu_seconds_total", "localrec_engine_batch_seconds_sum"
SCRAPE_SECONDS = 10.0
GATEWAY, ENGINE, REDIS = "gateway", "engine", "redis"


@dataclass(frozen=True)
class PartUse:
    """Of one part, since it began.

    Args:
        cpu_seconds: of all its processes.
        busy_seconds: in which its narrowest place was taken; None: the CPU time, over ``lanes``.
        lanes: processes that share its work, each of which does one thing at a time.
    """

    cpu_seconds: float
    busy_seconds: float | None = None
    lanes: int = 1


@dataclass(frozen=True)
class Usage:
    """All parts at one moment. ``machine_seconds`` is the CPU time of everything on this machine; None: unknown."""

    at: float
    parts: Mapping[str, PartUse]
    machine_seconds: float | None = None


@dataclass(frozen=True)
class Service:
    """A service whose use can be read: by process where it runs here, by its own metrics where it does not.

    Args:
        gateway_metrics: URL of the gateway's metrics.
        worker_metrics: URLs of the workers' metrics.
        redis_url: None: Redis' use is not known.
        processes: ids of the processes by part, for parts that run here.
    """

    gateway_metrics: str
    worker_metrics: Sequence[str] = ()
    redis_url: str | None = None
    processes: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_here(self) -> bool:
        """Whether its processes run on this machine."""
        return bool(self.processes)

    def usage(self) -> Usage:
        """What it has used so far. Raises LocalRecError where a part does not tell."""
        parts = {GATEWAY: self._gateway()}
        if self.worker_metrics:
            parts[ENGINE] = self._workers()
        if self.redis_url is not None:
            parts[REDIS] = PartUse(redis_cpu_seconds(self.redis_url))
        return Usage(time.monotonic(), parts, machine_cpu_seconds() if self.is_here else None)

    def _gateway(self) -> PartUse:
        metrics = scrape(self.gateway_metrics)
        lanes = {labels.get("process", "") for labels, _ in metrics.samples.get(CPU_METRIC, ())}
        return PartUse(self._cpu_seconds(GATEWAY, [metrics]), lanes=max(len(lanes), 1))

    def _workers(self) -> PartUse:
        metrics = [scrape(url) for url in self.worker_metrics]
        told = all(scraped.has(BATCH_METRIC) for scraped in metrics)
        busy = sum(scraped.total(BATCH_METRIC) for scraped in metrics) if told else None
        return PartUse(self._cpu_seconds(ENGINE, metrics), busy, len(metrics))

    def _cpu_seconds(self, part: str, metrics: Sequence[Scrape]) -> float:
        if part in self.processes:
            return process_cpu_seconds(self.processes[part])
        if not all(scraped.has(CPU_METRIC) for scraped in metrics):
            raise LocalRecError(f"{part}: its metrics have no {CPU_METRIC}")
        return sum(scraped.total(CPU_METRIC) for scraped in metrics)


def service_of(stack: Stack) -> Service:
    """A service that runs here."""
    return Service(
        gateway_metrics=f"http://127.0.0.1:{stack.gateway_port}/metrics",
        worker_metrics=(f"http://127.0.0.1:{stack.worker_port}/metrics",),
        redis_url=stack.redis_url,
        processes={GATEWAY: stack.gateway.pid, ENGINE: stack.worker.pid},
    )


def scrape(url: str) -> Scrape:
    """The metrics there. Raises LocalRecError where there are none."""
    try:
        with urlopen(url, timeout=SCRAPE_SECONDS) as answer:  # noqa: S310 - the caller's own service
            return parse(answer.read().decode())
    except (OSError, ValueError) as exc:
        if isinstance(exc, HTTPError):
            exc.close()
        raise LocalRecError(f"{url}: expected metrics in Prometheus' format: {exc}") from exc


def redis_cpu_seconds(url: str) -> float:
    """What a Redis says that it has used."""
    with Redis.from_url(url) as redis:
        told = redis.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def process_cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all below it that live. Raises LocalRecError where it has ended."""
    parents, ticks = _processes()
    if pid not in ticks:
        raise LocalRecError(f"process {pid} has ended; see the logs of the service")
    family, found = {pid}, 0
    while found < len(family):
        found = len(family)
        family |= {child for child, parent in parents.items() if parent in family}
    return sum(ticks[member] for member in family) / os.sysconf("SC_CLK_TCK")


def machine_cpu_seconds() -> float:
    """CPU time of all processes of this machine since it began; time that others of its host took counts, too."""
    numbers = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = numbers
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _processes() -> tuple[dict[int, int], dict[int, int]]:
    """Parent, and clock ticks of user and system, by process id."""
    parents, ticks = {}, {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                fields = (directory / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue  # it has ended meanwhile
            parents[int(directory.name)] = int(fields[1])
            ticks[int(directory.name)] = int(fields[11]) + int(fields[12])
    return parents, ticks
