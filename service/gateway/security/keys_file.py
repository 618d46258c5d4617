"""Follows the keys file: a key is added, rotated or withdrawn without a restart."""

import asyncio
import logging
from pathlib import Path

from models.contract.errors import ConfigError
from service.gateway.security.access import Access
from service.gateway.security.keyring import Keyring
from service.gateway.security.keys import parse_keys, read_content

logger = logging.getLogger(__name__)


def load_keyring(path: Path) -> Keyring:
    """The keys to start with. Raises ConfigError: a service that was told of keys does not start open."""
    return Keyring(parse_keys(read_content(path), path))


class KeysFile:
    """Puts what the file says into force, as a whole or not at all.

    The content itself is compared, every time: a time stamp and a size would miss a rotation within one tick. A new
    one counts once it was the same at two looks: half a file may be a valid one, of keys without rates and expiry.

    Args:
        path: the file.
        access: where the keys are in force.
    """

    def __init__(self, path: Path, access: Access) -> None:
        self._path = path
        self._access = access
        self._seen: bytes | None = None
        self._judged: bytes | None = None
        self.problem = ""

    async def look(self) -> None:
        """One look at the file. One that cannot be used changes nothing; ``problem`` says why."""
        try:
            content = await asyncio.to_thread(read_content, self._path)
        except ConfigError as exc:
            self._judged = None  # the same content is news once it is back
            self._refuse(str(exc))
        else:
            settled, self._seen = content == self._seen, content
            if settled and content != self._judged:
                self._judged = content
                await self._put_in_force(content)

    async def _put_in_force(self, content: bytes) -> None:
        try:
            keys = await asyncio.to_thread(parse_keys, content, self._path)
        except ConfigError as exc:
            self._refuse(str(exc))
            return
        self._access.keyring = Keyring(keys, before=self._access.keyring)
        self.problem = ""
        logger.info("%d API keys in force", len(keys))

    def _refuse(self, why: str) -> None:
        if why != self.problem:
            logger.error("API keys stay as they are: %s", why)
        self.problem = why
