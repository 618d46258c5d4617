"""Bundles that variants of experiments name, beside the one in service: loaded while they are named."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from models.contract.errors import BundleError
from service.gateway.bundles.snapshot import Snapshot
from service.periodic import cancel_all

logger = logging.getLogger(__name__)

RETRY_SECONDS = 10.0  # a bundle that was refused may be repaired; hashing it every second would be too dear


class Canaries:
    """Holds their snapshots.

    Args:
        open_bundle: loads and verifies a bundle by its id, in a thread. Raises BundleError.
        observer: told of a bundle's id and what became of it: ``loaded`` or ``refused``.
    """

    def __init__(self, open_bundle: Callable[[str], Snapshot], observer: Callable[[str, str], None]) -> None:
        self.loaded: dict[str, Snapshot] = {}
        self.refused: dict[str, str] = {}
        self._open = open_bundle
        self._observer = observer
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._refused_at: dict[str, float] = {}

    def follow(self, named: Collection[str]) -> None:
        """Begin to load what is named and not there, and forget what is not named any more."""
        for bundle_id in [each for each in (*self.loaded, *self.refused, *self._loading) if each not in named]:
            self._forget(bundle_id)
        for bundle_id in named:
            if bundle_id not in self.loaded and bundle_id not in self._loading and self._may_be_loaded(bundle_id):
                self._loading[bundle_id] = asyncio.create_task(self._load(bundle_id))

    async def close(self) -> None:
        """Give up what is being loaded."""
        await cancel_all(list(self._loading.values()))

    def _may_be_loaded(self, bundle_id: str) -> bool:
        refused_at = self._refused_at.get(bundle_id)
        return refused_at is None or time.monotonic() - refused_at >= RETRY_SECONDS

    def _forget(self, bundle_id: str) -> None:
        self.loaded.pop(bundle_id, None)
        self.refused.pop(bundle_id, None)
        self._refused_at.pop(bundle_id, None)
        if (task := self._loading.pop(bundle_id, None)) is not None:
            task.cancel()

    async def _load(self, bundle_id: str) -> None:
        try:
            self.loaded[bundle_id] = await asyncio.to_thread(self._open, bundle_id)
        except BundleError as exc:
            self.refused[bundle_id], self._refused_at[bundle_id] = str(exc), time.monotonic()
            logger.error("canary %s refused: %s", bundle_id, exc)
            self._observer(bundle_id, "refused")
        else:
            self.refused.pop(bundle_id, None)
            self._observer(bundle_id, "loaded")
            logger.info("canary %s loaded", bundle_id)
        del self._loading[bundle_id]
