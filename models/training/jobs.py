"""Independent jobs: done here one after the other, or side by side elsewhere; one that fails does not stop the others.

An :class:`Executor` says where: :class:`InProcess` here, ``on_ray.RayExecutor`` on the nodes of a cluster.
"""

import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from models.contract.errors import LocalRecError
from models.types import Report

ATTEMPTS = 3  # of a job whose failure may pass


class JobsError(LocalRecError):
    """Some jobs failed for good. The message names each, and why; what the others did is kept."""


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Args:
        name: what the person at the keyboard knows it by.
        size: how long it takes, in any unit that all jobs share: what time is left is estimated from it.
        work: does it, told where to report; False where there was nothing to do. It may run in another process: a
            function of a module, or a partial of one.
    """

    name: str
    size: float
    work: Callable[[Report], bool]


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended.

    Args:
        seconds: that the work took; 0 where there was nothing to do.
        failure: why it failed; empty where it did not.
        passing: whether another attempt may succeed.
    """

    seconds: float = 0.0
    failure: str = ""
    passing: bool = True


class Executor(Protocol):
    """Where jobs are done."""

    @property
    def slots(self) -> int:
        """How many jobs run at the same time."""
        ...

    def submit(self, job: Job) -> None:
        """Queue one attempt."""
        ...

    def next_outcome(self) -> tuple[Job, Outcome]:
        """Wait for any submitted attempt to end."""
        ...


OpenExecutor = Callable[[int], AbstractContextManager[Executor]]  # for so many jobs


class InProcess:
    """One job after the other, in this process."""

    slots = 1

    def __init__(self, report: Report) -> None:
        self._report = report
        self._queue: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """See :class:`Executor`."""
        self._queue.append(job)

    def next_outcome(self) -> tuple[Job, Outcome]:
        """See :class:`Executor`."""
        job = self._queue.popleft()
        return job, attempt(job, self._report)


def in_process(report: Report) -> OpenExecutor:
    """Opens :class:`InProcess` executors."""

    @contextmanager
    def opened(n_jobs: int) -> Iterator[Executor]:
        yield InProcess(report)

    return opened


def attempt(job: Job, report: Report) -> Outcome:
    """Do a job once. What LocalRec refuses on purpose it would refuse again; anything else may pass."""
    started = time.perf_counter()
    try:
        worked = job.work(report)
    except LocalRecError as exc:
        return Outcome(failure=str(exc), passing=False)
    except Exception as exc:
        report(traceback.format_exc())
        return Outcome(failure=f"{type(exc).__name__}: {exc}")
    return Outcome(time.perf_counter() - started if worked else 0.0)


def do_all(jobs: Sequence[Job], executor: Executor, report: Report, attempts: int = ATTEMPTS) -> None:
    """Do all jobs; try one whose failure may pass again, behind those that wait.

    Args:
        jobs: see :class:`Job`.
        executor: see :class:`Executor`.
        report: told after every job what is done, and about how long the rest will take.
        attempts: of one job, at most.

    Raises:
        JobsError: some jobs failed; raised when all others are done.
    """
    for job in jobs:
        executor.submit(job)
    progress = _Progress(jobs, executor.slots)
    tried: Counter[str] = Counter()
    failures: dict[str, str] = {}
    while progress.waiting:
        job, outcome = executor.next_outcome()
        tried[job.name] += 1
        if outcome.failure and outcome.passing and tried[job.name] < attempts:
            report(f"  {job.name}: attempt {tried[job.name]} of {attempts} failed, is tried again: {outcome.failure}")
            executor.submit(job)
            continue
        if outcome.failure:
            failures[job.name] = outcome.failure
            report(f"  {job.name}: failed: {outcome.failure}")
        report(f"  {progress.after(job, outcome)}")
    if failures:
        named = "; ".join(f"{name}: {failure}" for name, failure in failures.items())
        raise JobsError(f"{len(failures)} of {len(jobs)} failed, the others are done and kept: {named}")


class _Progress:
    """What is done, and how long the rest will take if it goes on at the pace so far."""

    def __init__(self, jobs: Sequence[Job], slots: int) -> None:
        self.waiting = {job.name: job.size for job in jobs}
        self._n_jobs, self._slots = len(jobs), slots
        self._seconds = self._size = 0.0

    def after(self, job: Job, outcome: Outcome) -> str:
        """One line for when a job has ended."""
        del self.waiting[job.name]
        if outcome.seconds:
            self._seconds += outcome.seconds
            self._size += job.size
        done = f"{self._n_jobs - len(self.waiting)} of {self._n_jobs}"
        if not self.waiting or not self._size:
            return done
        return f"{done}, about {as_duration(self._left_seconds())} left"

    def _left_seconds(self) -> float:
        width = min(self._slots, len(self.waiting))
        return self._seconds / self._size * sum(self.waiting.values()) / width


def as_duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s`` or ``1 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
