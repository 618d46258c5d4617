"""Follows the keys file: a key is added, rotated or withdrawn without a restart."""

import logging
from collections.abc import Sequence
from pathlib import Path

from service.gateway.security.access import Access
from service.gateway.security.keyring import Keyring
from service.gateway.security.keys import KeySettings, parse_keys, read_content
from service.gateway.watched_file import WatchedFile

logger = logging.getLogger(__name__)


def load_keyring(path: Path) -> Keyring:
    """The keys to start with. Raises ConfigError: a service that was told of keys does not start open."""
    return Keyring(parse_keys(read_content(path), path))


class KeysFile:
    """Puts what the file says into force, as a whole or not at all.

    Args:
        path: the file.
        access: where the keys are in force.
    """

    def __init__(self, path: Path, access: Access) -> None:
        self._access = access
        self._file = WatchedFile(
            lambda: read_content(path), lambda content: parse_keys(content, path), self._put_in_force, self._refuse
        )

    @property
    def problem(self) -> str:
        """Why the file as it is now is not in force; empty where it is."""
        return self._file.problem

    async def look(self) -> None:
        """One look at the file."""
        await self._file.look()

    def _put_in_force(self, keys: Sequence[KeySettings]) -> None:
        self._access.keyring = Keyring(keys, before=self._access.keyring)
        logger.info("%d API keys in force", len(keys))

    def _refuse(self, why: str) -> None:
        logger.error("API keys stay as they are: %s", why)
