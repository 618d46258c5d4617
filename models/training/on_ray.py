"""Jobs as Ray tasks: on the GPUs and nodes of a cluster, or on this machine's cores (extra: ray).

Every node must see the run directory at the same path, and a backbone that is a path, too; and have LocalRec installed.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from models.contract.errors import ConfigError, MissingExtraError
from models.training.jobs import Executor, Job, OpenExecutor, Outcome, attempt

LOCAL = "local"
# Read by Ray when it is imported: a line of one job is no repetition of another's.
EVERY_LINE = {"RAY_DEDUP_LOGS": "0"}
# A Ray of our own is for this machine only: its ports are open on loopback and nowhere else.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# And as urgent as the command that started it: by default Ray lets everything else on the machine go first.
AS_URGENT = {"RAY_worker_niceness": "0"}


@dataclass(frozen=True)
class Share:
    """What one job gets of a cluster, and how many run at the same time."""

    cpus: int
    gpus: float
    slots: int


def share(node_cpus: Sequence[float], n_gpus: float, n_jobs: int, gpus_per_job: float) -> Share:
    """What each of the jobs gets.

    A GPU each, or its part, where there are GPUs. Else as many cores as let all jobs run at once: one core each is
    faster than one job after the other on all cores. At least one core, and no more than a node has.

    Args:
        node_cpus: cores of each node.
        n_gpus: GPUs of the whole cluster.
        n_jobs: to be done.
        gpus_per_job: wanted for one job.
    """
    total = int(sum(node_cpus))
    if n_gpus:
        return Share(cpus=1, gpus=gpus_per_job, slots=max(1, int(n_gpus / gpus_per_job)))
    cpus = max(1, min(total // max(n_jobs, 1), int(max(node_cpus, default=1))))
    return Share(cpus=cpus, gpus=0.0, slots=max(1, total // cpus))


class RayExecutor:
    """Each attempt is one Ray task; see ``jobs.Executor``.

    Ray itself repeats nothing: whether a failure is worth another attempt is decided in one place, ``jobs.do_all``.
    """

    def __init__(self, ray: Any, each: Share) -> None:
        self._ray = ray
        self._each = each
        self._remote = ray.remote(max_retries=0, num_cpus=each.cpus, num_gpus=each.gpus)(_attempt_there)
        self._running: dict[Any, Job] = {}

    @property
    def slots(self) -> int:
        return self._each.slots

    def submit(self, job: Job) -> None:
        """See ``jobs.Executor``."""
        self._running[self._remote.remote(job, self._each.cpus)] = job

    def next_outcome(self) -> tuple[Job, Outcome]:
        """See ``jobs.Executor``. A process or node that is lost is a failure that may pass."""
        (ready,), _ = self._ray.wait(list(self._running), num_returns=1)
        job = self._running.pop(ready)
        try:
            return job, self._ray.get(ready)
        except self._ray.exceptions.RayError as exc:
            return job, Outcome(failure=f"{type(exc).__name__}: {str(exc).splitlines()[0]}")


def on_ray(address: str, gpus_per_job: float = 1.0) -> OpenExecutor:
    """Opens :class:`RayExecutor` executors.

    Args:
        address: ``local`` starts Ray on this machine for as long as it is needed; ``auto`` finds one that runs here;
            else ``host:port`` of a cluster, or ``ray://host:port``.
        gpus_per_job: GPUs that a job takes where there are any; less than 1 lets jobs share one.

    Raises:
        MissingExtraError: Ray is not installed; raised at once.
    """
    os.environ.update(EVERY_LINE | (LOOPBACK | AS_URGENT if address == LOCAL else {}))
    ray = _import_ray()

    @contextmanager
    def opened(n_jobs: int) -> Iterator[Executor]:
        _connect(ray, address)
        try:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            cpus = [node.get("CPU", 0.0) for node in nodes]
            gpus = sum(node.get("GPU", 0.0) for node in nodes)
            yield RayExecutor(ray, share(cpus, gpus, n_jobs, gpus_per_job))
        finally:
            ray.shutdown()

    return opened


def _import_ray() -> Any:
    try:
        import ray  # noqa: PLC0415 - an extra of its own
        import ray.exceptions  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise MissingExtraError("--ray needs ray: pip install 'localrec[ray]'") from exc
    return ray


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError) as exc:
        raise ConfigError(f"--ray: {address!r}: {exc}; 'local' starts a Ray on this machine") from exc


def _attempt_there(job: Job, threads: int) -> Outcome:
    """In a worker's process: what it prints appears at the driver."""
    torch.set_num_threads(threads)
    return attempt(job, print)
