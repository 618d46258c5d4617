"""Follows the bundle pointer in Redis: loads, prepares the workers, then switches in one assignment."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from models.contract.bundle import Bundle
from models.contract.errors import BundleError
from service.gateway.snapshot import Snapshot, load_snapshot
from service.gateway.types import StateUnavailableError

logger = logging.getLogger(__name__)

RETRY_REFUSED_SECONDS = 10.0  # a refused bundle may be repaired; hashing it every second would be too dear
_BUNDLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Pointer(Protocol):
    """Says which bundle should be served."""

    async def current_bundle(self) -> str | None:
        """Its id. Raises StateUnavailableError."""
        ...


class Prepares(Protocol):
    """A pool of workers that must be ready before a bundle is served."""

    async def prepare(self, bundle: Bundle) -> bool:
        """Make the workers ready. True where at least one is."""
        ...


class SnapshotFollower:
    """Holds the snapshot in service.

    Args:
        pointer: where the current bundle's id is.
        pools: prepared before a switch.
        bundle_root: directory of bundles.
        wait_seconds: how long a new bundle waits for a worker while an older one is in service.
        observer: told of a bundle's id and what became of it: ``loaded``, ``refused`` or ``in_service``.
    """

    def __init__(
        self,
        pointer: Pointer,
        pools: Sequence[Prepares],
        bundle_root: Path,
        wait_seconds: float,
        observer: Callable[[str, str], None],
    ) -> None:
        self.snapshot: Snapshot | None = None
        self.refusal = ""
        self._pointer = pointer
        self._pools = pools
        self._bundle_root = bundle_root
        self._wait_seconds = wait_seconds
        self._observer = observer
        self._refused: tuple[str, float] = ("", 0.0)
        self._next: tuple[Snapshot, float] | None = None

    async def follow(self) -> None:
        """One look at the pointer, and what follows from it. The old bundle stays in service until the end."""
        try:
            wanted = await self._pointer.current_bundle()
        except StateUnavailableError:
            return
        if wanted is None or (self.snapshot is not None and self.snapshot.id == wanted):
            self.refusal, self._next = "", None
            return
        loaded = await self._load(wanted)
        if loaded is None:
            return
        snapshot, since = loaded
        if self.snapshot is None:
            self._switch(snapshot)  # the global models can serve before the first worker is ready
        ready = await asyncio.gather(*(pool.prepare(snapshot.bundle) for pool in self._pools))
        if all(ready) or time.monotonic() - since >= self._wait_seconds:
            self._switch(snapshot)

    async def _load(self, bundle_id: str) -> tuple[Snapshot, float] | None:
        """The bundle in memory and since when, or None where it was refused."""
        if self._next is not None and self._next[0].id == bundle_id:
            return self._next
        refused, refused_at = self._refused
        if refused == bundle_id and time.monotonic() - refused_at < RETRY_REFUSED_SECONDS:
            return None
        try:
            snapshot = await asyncio.to_thread(self._open, bundle_id)
        except BundleError as exc:
            self._refuse(bundle_id, str(exc))
            return None
        self._observer(bundle_id, "loaded")
        self.refusal = ""
        self._next = snapshot, time.monotonic()
        return self._next

    def _open(self, bundle_id: str) -> Snapshot:
        if not _BUNDLE_ID.fullmatch(bundle_id):
            raise BundleError(f"{bundle_id!r} is not a bundle id")
        snapshot = load_snapshot(self._bundle_root / bundle_id)
        if snapshot.id != bundle_id:
            raise BundleError(f"{self._bundle_root / bundle_id} holds bundle {snapshot.id}")
        return snapshot

    def _refuse(self, bundle_id: str, why: str) -> None:
        self._refused = bundle_id, time.monotonic()
        self.refusal = why
        self._observer(bundle_id, "refused")
        in_service = self.snapshot.id if self.snapshot else "none"
        logger.error("bundle %s refused: %s; in service: %s", bundle_id, why, in_service)

    def _switch(self, snapshot: Snapshot) -> None:
        self._next = None
        if self.snapshot is not snapshot:
            self.snapshot = snapshot
            self._observer(snapshot.id, "in_service")
            logger.info("bundle %s in service", snapshot.id)
