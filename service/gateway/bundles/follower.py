"""Follows the bundle pointer in Redis: loads, has the workers prepared, then switches in one assignment.

Nothing that takes long happens in a look at the pointer: a bundle loads in a task, workers prepare in their pools. So a
newer pointer is followed at once, whatever an older one has begun.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from models.contract.bundle import Bundle
from models.contract.errors import BundleError
from models.contract.specs import Part
from service.gateway.bundles.canaries import RETRY_SECONDS, Canaries
from service.gateway.bundles.snapshot import NO_NEEDS, Snapshot, load_snapshot
from service.gateway.traffic.collector import collector_at_rest
from service.gateway.types import StateUnavailableError
from service.periodic import cancel_all

logger = logging.getLogger(__name__)

_BUNDLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_bundle_id(text: str) -> bool:
    """Whether it may be one: no path leads out of the directory of bundles."""
    return _BUNDLE_ID.fullmatch(text) is not None


class Pointer(Protocol):
    """Says which bundle should be served."""

    async def current_bundle(self) -> str | None:
        """Its id. Raises StateUnavailableError."""
        ...


class Prepares(Protocol):
    """A pool of workers that must be ready before a bundle is served."""

    def expect(self, bundles: Sequence[Bundle]) -> None:
        """Keep the workers ready for these bundles and no other, in the background. Called with the same ones again."""
        ...

    def is_ready(self, bundle_id: str) -> bool:
        """Whether the workers have all that a bundle needs."""
        ...


class SnapshotFollower:
    """Holds the snapshot in service, and those that experiments name beside it.

    Args:
        pointer: where the current bundle's id is.
        pools: prepared before a switch.
        bundle_root: directory of bundles.
        wait_seconds: how long a new bundle waits for its workers while an older one is in service.
        observer: told of a bundle's id and what became of it: ``loaded``, ``refused`` or ``in_service``.
        warm: called with a loaded bundle, in its thread, before anyone is served from it; refused where that raises.
        named: gives the ids of the bundles that experiments name.
        needs: the models that bundles must have, by the names of the pipelines that ask them.
    """

    def __init__(
        self,
        pointer: Pointer,
        pools: Sequence[Prepares],
        bundle_root: Path,
        wait_seconds: float,
        observer: Callable[[str, str], None],
        warm: Callable[[Snapshot], None] = lambda _: None,
        named: Callable[[], Collection[str]] = tuple,
        needs: Mapping[str, Part] = NO_NEEDS,
    ) -> None:
        self.snapshot: Snapshot | None = None
        self.previous: Snapshot | None = None  # kept, so that going back loads nothing
        self.refusal = ""
        self.refused: str | None = None
        self._pointer = pointer
        self._pools = pools
        self._bundle_root = bundle_root
        self._wait_seconds = wait_seconds
        self._observer = observer
        self._warm = warm
        self._named = named
        self._needs = needs
        self.canaries = Canaries(self._open, observer)
        self._wanted: str | None = None  # the bundle that loads, was refused, or waits for workers
        self._loading: asyncio.Task[None] | None = None
        self._refused_at: float | None = None
        self._next: tuple[Snapshot, float] | None = None  # loaded, and since when

    async def follow(self) -> None:
        """One look at the pointer, and what follows from it. The old bundle stays in service until the switch."""
        try:
            wanted = await self._pointer.current_bundle()
        except StateUnavailableError:
            return
        if wanted is None or (self.snapshot is not None and self.snapshot.id == wanted):
            self._turn_to(None)
            self.refusal = ""
        elif wanted != self._wanted or self._may_be_repaired():
            self._turn_to(wanted)
        in_service = {self.snapshot.id} if self.snapshot is not None else set()
        self.canaries.follow(set(self._named()) - in_service)
        self._advance()

    def serving(self, bundle_id: str | None) -> Snapshot | None:
        """The snapshot that a request is served from, which may ask for the bundle that its variant names.

        While that one is not loaded, or its workers are not ready, it is the one in service; None while there is none.
        """
        canary = self.canaries.loaded.get(bundle_id) if bundle_id is not None else None
        return canary if canary is not None and self._is_ready(canary) else self.snapshot

    def loaded(self, bundle_id: str | None) -> Snapshot | None:
        """A bundle that is in memory here; without an id, the one in service. None where there is none such."""
        return self.snapshot if bundle_id is None else self._kept(bundle_id)

    async def check(self, bundle_id: str) -> None:
        """Whether a bundle could be served here. Reads and hashes all of it. Raises BundleError."""
        if self._kept(bundle_id) is None:
            await asyncio.to_thread(self._open, bundle_id)

    async def close(self) -> None:
        """Give up what is being loaded."""
        await self.canaries.close()
        if self._loading is not None:
            await cancel_all([self._loading])

    def _turn_to(self, bundle_id: str | None) -> None:
        """Load this bundle, and give up whichever was on its way."""
        if self._loading is not None:
            self._loading.cancel()
        self._wanted, self._next, self._refused_at, self._loading = bundle_id, None, None, None
        if bundle_id is None:
            return
        if (kept := self._kept(bundle_id)) is not None:
            self.refusal = ""
            self._next = kept, time.monotonic()
        else:
            self._loading = asyncio.create_task(self._load(bundle_id))

    def _kept(self, bundle_id: str) -> Snapshot | None:
        """A snapshot that is in memory, so that nothing has to be loaded."""
        kept = [each for each in (self.snapshot, self.previous) if each is not None and each.id == bundle_id]
        return kept[0] if kept else self.canaries.loaded.get(bundle_id)

    def _is_ready(self, snapshot: Snapshot) -> bool:
        return all(pool.is_ready(snapshot.id) for pool in self._pools)

    def _may_be_repaired(self) -> bool:
        return self._refused_at is not None and time.monotonic() - self._refused_at >= RETRY_SECONDS

    async def _load(self, bundle_id: str) -> None:
        try:
            snapshot = await asyncio.to_thread(self._open, bundle_id)
        except BundleError as exc:
            self._refuse(bundle_id, str(exc))
        else:
            self._observer(bundle_id, "loaded")
            self.refusal = ""
            self._next = snapshot, time.monotonic()
            self._advance()

    def _advance(self) -> None:
        """Say which bundles the workers are needed for, and switch where they are ready."""
        self._expect(self.snapshot, self._next[0] if self._next else None)
        if self._next is not None and self._may_switch(*self._next):
            self._switch(self._next[0])

    def _expect(self, *snapshots: Snapshot | None) -> None:
        wanted = [snapshot for snapshot in (*snapshots, *self.canaries.loaded.values()) if snapshot is not None]
        bundles = list({snapshot.id: snapshot.bundle for snapshot in wanted}.values())
        for pool in self._pools:
            pool.expect(bundles)

    def _may_switch(self, snapshot: Snapshot, since: float) -> bool:
        if self.snapshot is None:
            return True  # the global models can serve before the first worker is ready
        waited = time.monotonic() - since >= self._wait_seconds
        return waited or self._is_ready(snapshot)

    def _open(self, bundle_id: str) -> Snapshot:
        if not is_bundle_id(bundle_id):
            raise BundleError(f"{bundle_id!r} is not a bundle id")
        try:
            return self._load_warm(bundle_id)
        except BundleError:
            raise
        except Exception as exc:  # whatever a warm-up request would raise
            logger.exception("bundle %s could not be loaded", bundle_id)
            raise BundleError(f"{type(exc).__name__}: {exc}") from exc

    def _load_warm(self, bundle_id: str) -> Snapshot:
        with collector_at_rest():
            snapshot = load_snapshot(self._bundle_root / bundle_id, self._needs)
            if snapshot.id != bundle_id:
                raise BundleError(f"{self._bundle_root / bundle_id} holds bundle {snapshot.id}")
            self._warm(snapshot)
        return snapshot

    def _refuse(self, bundle_id: str, why: str) -> None:
        self._refused_at = time.monotonic()
        self.refusal, self.refused = why, bundle_id
        self._observer(bundle_id, "refused")
        in_service = self.snapshot.id if self.snapshot else "none"
        logger.error("bundle %s refused: %s; in service: %s", bundle_id, why, in_service)

    def _switch(self, snapshot: Snapshot) -> None:
        """From now on the new bundle's adapters have the first claim on slots.

        The bundle that was in service is expected until the next look, for requests that began before the switch.
        """
        self.previous, self.snapshot, self._next = self.snapshot, snapshot, None
        self._expect(snapshot, self.previous)
        self._observer(snapshot.id, "in_service")
        logger.info("bundle %s in service", snapshot.id)
