"""One replica of a pool: which bundle it is ready for, its adapters, its breaker."""

import asyncio
import logging
import time
from collections.abc import Mapping

from models.contract.bundle import Bundle
from models.contract.types import item_numbers
from service.workers.breaker import Breaker
from service.workers.client import WorkerClient, WorkerError
from service.workers.types import Completion, Outcome, OutcomeKind, PoolObserver

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_SECONDS = 2.0
LOAD_TIMEOUT_SECONDS = 60.0  # a cold load reads the disk and may wait behind others


class Replica:
    """A worker process, brought to readiness and kept there.

    Args:
        pool: name of the pool, for the observer.
        client: speaks to the worker.
        breaker: decides whether calls are worth a try.
        observer: hears of adapter loads and misses.
    """

    def __init__(self, pool: str, client: WorkerClient, breaker: Breaker, observer: PoolObserver) -> None:
        self.client = client
        self.breaker = breaker
        self.bundle_id: str | None = None
        self.reason = "not probed yet"
        self.in_flight = 0
        self._pool = pool
        self._observer = observer
        self._loads: dict[str, asyncio.Task[bool]] = {}
        self._loaded_meanwhile: set[str] = set()  # by requests, since the probe that is running began
        self._preparing = asyncio.Lock()

    async def prepare(self, bundles: Mapping[str, Bundle]) -> None:
        """Probe the worker and load what is missing for whichever of ``bundles`` (by id) its base model belongs to."""
        async with self._preparing:
            try:
                self._ready(await self._prepare(bundles))
            except WorkerError as exc:
                self._unusable(str(exc))
            except TimeoutError:
                self._unusable(f"no answer to a probe within {PROBE_TIMEOUT_SECONDS} s")

    async def complete(self, bundle: Bundle, adapter: str, completion: Completion) -> Outcome:
        """Ask one adapter. Where the worker does not know it: load it, and ask once more."""
        name = bundle.adapter_name(adapter)
        outcome = await self.client.complete(name, completion)
        if outcome.kind is not OutcomeKind.NOT_FOUND:
            return outcome
        self._observer.adapter_missed(self._pool)
        if not await self._load_once(bundle, adapter):
            return outcome
        return await self.client.complete(name, completion)

    async def close(self) -> None:
        """Give up loads that still run."""
        for load in self._loads.values():
            load.cancel()
        await asyncio.gather(*self._loads.values(), return_exceptions=True)

    async def _prepare(self, bundles: Mapping[str, Bundle]) -> Bundle:
        self._loaded_meanwhile.clear()
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            served = await self.client.served_models()
        bundle = next((bundle for bundle in bundles.values() if bundle.base_id in served.bases), None)
        if bundle is None:
            expected = frozenset(bundle.base_id for bundle in bundles.values())
            raise WorkerError(f"serves {_names(served.bases)}, expected {_names(expected)}")
        for adapter in bundle.manifest.model.adapters:
            if bundle.adapter_name(adapter) in served.adapters | self._loaded_meanwhile:
                continue
            if not await self._load_once(bundle, adapter):
                raise WorkerError(f"adapter {bundle.adapter_name(adapter)} could not be loaded")
        if self.bundle_id != bundle.id:
            await self._warm_up(bundle)
        return bundle

    async def _warm_up(self, bundle: Bundle) -> None:
        """Ask every adapter once, without a user waiting: a server's first calls may take seconds."""
        model = bundle.manifest.model
        completion = Completion([0], 1, item_numbers([]), model.n_items)  # a token of every form's vocabulary
        for adapter in model.adapters:
            name = bundle.adapter_name(adapter)
            try:
                async with asyncio.timeout(LOAD_TIMEOUT_SECONDS):
                    outcome = await self.client.complete(name, completion)
            except TimeoutError:
                outcome = Outcome(OutcomeKind.TIMEOUT, detail=f"no answer within {LOAD_TIMEOUT_SECONDS} s")
            if outcome.kind is not OutcomeKind.OK:
                raise WorkerError(f"adapter {name} does not answer: {outcome.kind}: {outcome.detail}")

    def _ready(self, bundle: Bundle) -> None:
        if self.bundle_id == bundle.id:
            return
        logger.info("worker %s is ready for %s", self.client.url, bundle.id)
        self.bundle_id, self.reason = bundle.id, ""
        self.breaker.succeeded()  # whatever failed was another process

    def _unusable(self, reason: str) -> None:
        if reason != self.reason:
            logger.warning("worker %s is not usable: %s", self.client.url, reason)
        self.bundle_id, self.reason = None, reason

    async def _load_once(self, bundle: Bundle, adapter: str) -> bool:
        """One load per adapter, however many requests wait for it; a waiter that leaves does not end it."""
        name = bundle.adapter_name(adapter)
        load = self._loads.get(name)
        if load is None:
            load = asyncio.create_task(self._load(name, str(bundle.adapter_path(adapter))))
            self._loads[name] = load
            load.add_done_callback(lambda _: self._loads.pop(name, None))
        return await asyncio.shield(load)

    async def _load(self, name: str, path: str) -> bool:
        started = time.perf_counter()
        ok = False
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_SECONDS):
                await self.client.load_adapter(name, path)
            self._loaded_meanwhile.add(name)
            ok = True
        except (WorkerError, TimeoutError) as exc:
            logger.warning("worker %s: %s", self.client.url, exc or f"{name}: not loaded in {LOAD_TIMEOUT_SECONDS} s")
        finally:
            self._observer.adapter_loaded(self._pool, ok, time.perf_counter() - started)
        return ok


def _names(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
