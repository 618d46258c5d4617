"""A pool: interchangeable replicas, adapters placed on them by rendezvous hashing, probed in the background."""

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import aiohttp

from models.contract.bundle import Bundle
from service.periodic import cancel_all, every
from service.workers.breaker import Breaker
from service.workers.client import WorkerClient
from service.workers.replica import Replica
from service.workers.types import Completion, Outcome, OutcomeKind, PoolObserver, ReplicaStatus

FAIR_SECONDS = 0.05  # a call that was given less says nothing about the replica when it times out


@dataclasses.dataclass(frozen=True)
class PoolOptions:
    """One pool, as configured.

    Args:
        name: the pool's name, a metric label.
        urls: one base URL per replica.
        bundle_root: the directory of bundles as the workers see it.
        in_flight_limit: calls per replica at one time; what exceeds it is refused at once.
        probe_interval_seconds: how often each replica is probed.
        failures_to_open: see :class:`Breaker`.
        cooldown_seconds: see :class:`Breaker`.
    """

    name: str
    urls: tuple[str, ...]
    bundle_root: Path
    in_flight_limit: int = 64
    probe_interval_seconds: float = 1.0
    failures_to_open: int = 20
    cooldown_seconds: float = 1.0


class WorkerPool:
    """The replicas of one pool. Create and use it inside a running event loop."""

    def __init__(self, options: PoolOptions, observer: PoolObserver) -> None:
        self._options = options
        self._observer = observer
        # aiohttp's own default of 100 connections would queue calls out of sight.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        timeout = aiohttp.ClientTimeout(total=None)  # every call stands under a deadline of its own
        jar = aiohttp.DummyCookieJar()
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar)
        self._replicas = [self._replica(url) for url in options.urls]
        self._bundles: dict[str, Bundle] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._placement: dict[str, list[Replica]] = {}

    def expect(self, bundles: Sequence[Bundle]) -> None:
        """From now on keep every replica ready for whichever of ``bundles`` its base model belongs to, for no other.

        Returns at once: the replicas are probed in the background, each by itself, first of all now. Preparations for
        bundles that are no longer expected are given up.
        """
        root = self._options.bundle_root
        expected = {bundle.id: dataclasses.replace(bundle, directory=root / bundle.id) for bundle in bundles}
        if expected.keys() == self._bundles.keys():
            return
        self._bundles = expected
        self._placement.clear()
        for probe in self._probes:
            probe.cancel()
        for replica in self._replicas:
            self._start_probing(replica)

    def is_ready(self, bundle_id: str) -> bool:
        """Whether at least one replica is ready for a bundle."""
        return any(replica.bundle_id == bundle_id for replica in self._replicas)

    async def close(self) -> None:
        """End the probes and close the connections."""
        await cancel_all(list(self._probes))
        for replica in self._replicas:
            await replica.close()
        await self._session.close()

    async def complete(self, bundle_id: str, adapter: str, completion: Completion, deadline: float) -> Outcome:
        """Ask one adapter of a bundle, on the best replica that can take the call.

        Args:
            bundle_id: the bundle that the request is served from.
            adapter: the adapter's name inside the bundle.
            completion: what is asked.
            deadline: instant on the loop's clock; at that time the outcome is ``timeout``.
        """
        started = time.perf_counter()
        try:
            async with asyncio.timeout_at(deadline):
                outcome = await self._ask(bundle_id, adapter, completion, deadline)
        except TimeoutError:
            outcome = Outcome(OutcomeKind.TIMEOUT)
        outcome = dataclasses.replace(outcome, seconds=time.perf_counter() - started)
        self._observer.call_ended(self._options.name, adapter, outcome.kind, outcome.seconds)
        return outcome

    def status(self) -> list[ReplicaStatus]:
        """The replicas as they stand."""
        return [ReplicaStatus(self._options.name, r.client.url, r.bundle_id, r.reason) for r in self._replicas]

    async def _ask(self, bundle_id: str, adapter: str, completion: Completion, deadline: float) -> Outcome:
        bundle = self._bundles.get(bundle_id)
        ready = [replica for replica in self._placed(adapter) if replica.bundle_id == bundle_id]
        if not ready or bundle is None:
            return Outcome(OutcomeKind.UNREACHABLE, detail="no replica is ready")
        free = [replica for replica in ready if replica.in_flight < self._options.in_flight_limit]
        if not free:
            return Outcome(OutcomeKind.REFUSED, detail="calls in flight are at their limit")
        replica = next((replica for replica in free if replica.breaker.acquire()), None)
        if replica is None:
            return Outcome(OutcomeKind.UNREACHABLE, detail="breaker is open")
        return await self._call(replica, bundle, adapter, completion, deadline)

    async def _call(
        self, replica: Replica, bundle: Bundle, adapter: str, completion: Completion, deadline: float
    ) -> Outcome:
        loop = asyncio.get_running_loop()
        fair = deadline - loop.time() >= FAIR_SECONDS
        replica.in_flight += 1
        kind = None
        try:
            outcome = await replica.complete(bundle, adapter, completion)
            kind = outcome.kind
            return outcome
        finally:
            replica.in_flight -= 1
            if kind is None and loop.time() >= deadline:
                kind = OutcomeKind.TIMEOUT if fair else None
            _judge(replica.breaker, kind)

    def _placed(self, adapter: str) -> list[Replica]:
        """Replicas in the adapter's own order of preference, so that each keeps few adapters and histories warm."""
        order = self._placement.get(adapter)
        if order is None:
            order = sorted(self._replicas, key=lambda replica: _affinity(adapter, replica.client.url), reverse=True)
            self._placement[adapter] = order
        return order

    def _start_probing(self, replica: Replica) -> None:
        probe = asyncio.create_task(every(self._options.probe_interval_seconds, partial(self._probe, replica)))
        self._probes.add(probe)
        probe.add_done_callback(self._probes.discard)

    async def _probe(self, replica: Replica) -> None:
        await replica.prepare(self._bundles)
        ready = replica.bundle_id is not None
        self._observer.replica_changed(self._options.name, replica.client.url, ready, replica.breaker.state)

    def _replica(self, url: str) -> Replica:
        options = self._options
        breaker = Breaker(options.failures_to_open, options.cooldown_seconds, time.monotonic)
        return Replica(options.name, WorkerClient(self._session, url), breaker, self._observer)


def _affinity(adapter: str, url: str) -> bytes:
    return hashlib.blake2b(f"{adapter}@{url}".encode(), digest_size=8).digest()


def _judge(breaker: Breaker, kind: OutcomeKind | None) -> None:
    """What a call says about its replica; ``kind`` is None where the client left, or the deadline was no fair test."""
    if kind is OutcomeKind.OK:
        breaker.succeeded()
    elif kind in {OutcomeKind.TIMEOUT, OutcomeKind.UNREACHABLE, OutcomeKind.INVALID}:
        breaker.failed()
    else:
        breaker.undecided()
