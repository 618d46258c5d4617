"""Brings adapters to one worker, has each prove itself, and takes them away again."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.contract.errors import BundleError
from service.workers.client import WorkerClient, WorkerError
from service.workers.residency import Refusal, Residency
from service.workers.roster import Owner, Roster
from service.workers.trust import Examiner
from service.workers.types import OutcomeKind, PoolEvent, PoolObserver

logger = logging.getLogger(__name__)

LOAD_TIMEOUT_SECONDS = 60.0  # a cold load reads the disk and may wait behind others; a server's first call takes long
FAILED_SECONDS = 5.0  # until a load that failed is tried again
UNTRUSTED_SECONDS = 60.0  # until an adapter that failed its probe is
LOADS_AT_ONCE = 4  # of a worker, before more are begun that nobody asks for
NEWEST_LOAD = 0.3  # weight of the newest load among the usual length of loads


@dataclass(frozen=True)
class Shared:
    """What the replicas of a pool have in common.

    Args:
        pool: its name.
        bundle_root: the directory of bundles as the workers see it.
        roster: the bundles that are served.
        examiner: knows what adapters must answer.
        observer: hears of everything.
        clock: seconds, monotonic; the event loop's.
    """

    pool: str
    bundle_root: Path
    roster: Roster
    examiner: Examiner
    observer: PoolObserver
    clock: Callable[[], float]

    def count(self, event: PoolEvent) -> None:
        """Tell the observer."""
        self.observer.happened(self.pool, event)

    def path(self, owner: Owner) -> str:
        """Where the workers find an adapter."""
        bundle = owner.model.bundle
        return str(self.bundle_root / bundle.id / owner.model.adapter_path(owner.adapter).relative_to(bundle.directory))


@dataclass(frozen=True)
class _Load:
    task: "asyncio.Task[None]"
    started: float


class Loader:
    """Loads and unloads on one worker, in accord with its residency."""

    def __init__(self, client: WorkerClient, residency: Residency, shared: Shared) -> None:
        self._client = client
        self._residency = residency
        self._shared = shared
        self._loads: dict[str, _Load] = {}
        self._unloads: set[asyncio.Task[bool]] = set()
        self._usual_seconds = 0.0

    def load(self, name: str, *, demanded: bool) -> "asyncio.Task[None] | None":
        """The load of an adapter: the one that runs, or a new one; None where the adapter must not come.

        One load per adapter, however many wait for it, by ``asyncio.wait``: who gives up must not cancel it, and it may
        be cancelled itself. What came of it, the residency says.
        """
        running = self._loads.get(name)
        if running is not None:
            return running.task
        owner = self._shared.roster.owner(name)
        evicted = self._residency.admit(name, demanded=demanded) if owner is not None else None
        if owner is None or evicted is None:
            return None
        if evicted:
            self._residency.let_go(evicted)  # now, not when the task has its first turn
        task = asyncio.create_task(self._load(name, owner, evicted))
        self._loads[name] = _Load(task, self._shared.clock())
        task.add_done_callback(lambda _: self._loads.pop(name, None))
        return task

    @property
    def is_busy(self) -> bool:
        """Whether so many loads run that others should wait that are not urgent."""
        return len(self._loads) >= LOADS_AT_ONCE

    def comes_in_time(self, name: str, deadline: float) -> bool:
        """Whether a load that runs can be expected to end by an instant. One that takes unusually long, will go on."""
        now, load = self._shared.clock(), self._loads.get(name)
        if load is None:
            return True
        ends = load.started + self._usual_seconds
        return (ends if ends >= now else now + (now - load.started)) <= deadline

    def unload(self, name: str) -> "asyncio.Task[bool]":
        """Take an adapter away, or try to: whether it is gone. Goes on where whoever waits gives up."""
        self._residency.let_go(name)
        task = asyncio.create_task(self._unload(name))
        self._unloads.add(task)
        task.add_done_callback(self._unloads.discard)
        return task

    async def close(self) -> None:
        """Give up what still runs."""
        tasks: list[asyncio.Task[Any]] = [*(load.task for load in self._loads.values()), *self._unloads]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _unload(self, name: str) -> bool:
        """Unload what was let go."""
        gone = False
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_SECONDS):
                await self._client.unload_adapter(name)
            gone = True
            self._shared.count(PoolEvent.ADAPTER_UNLOADED)
        except (WorkerError, TimeoutError) as exc:
            logger.warning("worker %s: %s", self._client.url, exc or f"{name}: not unloaded in time")
        except Exception:
            logger.exception("worker %s: %s could not be unloaded", self._client.url, name)
        finally:
            self._residency.left(name, gone=gone)
        return gone

    async def _load(self, name: str, owner: Owner, evicted: str) -> None:
        started = self._shared.clock()
        refusal: Refusal | None = self._refusal("given up", FAILED_SECONDS)
        try:
            if evicted:
                self._shared.count(PoolEvent.ADAPTER_EVICTED)
                await self._unload(evicted)
            refusal = await self._bring(name, owner)
            if refusal is not None:
                logger.warning("worker %s: %s is not used: %s", self._client.url, name, refusal.why)
        except Exception as exc:
            logger.exception("worker %s: %s could not be loaded", self._client.url, name)
            refusal = self._refusal(f"{type(exc).__name__}: {exc}", FAILED_SECONDS)
        finally:
            if refusal is None:
                self._residency.loaded(name)
            else:
                self._residency.refused(name, refusal)
            seconds = self._shared.clock() - started
            if refusal is None:
                self._usual_seconds += NEWEST_LOAD * (seconds - self._usual_seconds)
            self._shared.observer.adapter_loaded(self._shared.pool, refusal is None, seconds)

    async def _bring(self, name: str, owner: Owner) -> Refusal | None:
        """Load and probe. None where the adapter may be used."""
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_SECONDS):
                await self._client.load_adapter(name, self._shared.path(owner))
                return await self._probe(name, owner)
        except TimeoutError:
            return self._refusal(f"not loaded within {LOAD_TIMEOUT_SECONDS} s", FAILED_SECONDS)
        except (WorkerError, BundleError) as exc:
            return self._refusal(str(exc), FAILED_SECONDS)

    async def _probe(self, name: str, owner: Owner) -> Refusal | None:
        exam = await self._shared.examiner.exam(owner.model)
        answer = await self._client.ask(name, exam.inquiry)
        if answer.kind is not OutcomeKind.OK:
            self._shared.count(PoolEvent.PROBE_UNANSWERED)
            raise WorkerError(f"no answer to its probe: {answer.kind}: {answer.detail}")
        complaint = exam.complaint(owner.adapter, answer)
        if not complaint:
            self._shared.count(PoolEvent.PROBE_PASSED)
            return None
        self._shared.count(PoolEvent.PROBE_FAILED)
        self._residency.let_go(name)
        await self._unload(name)
        return self._refusal(complaint, UNTRUSTED_SECONDS, OutcomeKind.UNTRUSTED)

    def _refusal(self, why: str, seconds: float, kind: OutcomeKind = OutcomeKind.NOT_FOUND) -> Refusal:
        return Refusal(kind, why, self._shared.clock() + seconds)
