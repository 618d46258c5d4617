"""A file of an operator's that is followed without a restart: what it says counts as a whole, or not at all."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

from models.contract.errors import ConfigError

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """Looks at the content itself, every time: a time stamp and a size would miss a change within one tick.

    Args:
        read: gives the content. Blocks. Raises ConfigError.
        parse: what a content says. Blocks. Raises ConfigError.
        accept: is given what a new content says.
        refuse: is given the reason why a content, or the lack of one, changes nothing; each once.
        first: version of the content that is in force; empty: whatever comes is new.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        parse: Callable[[bytes], T],
        accept: Callable[[T], None],
        refuse: Callable[[str], None],
        first: str = "",
    ) -> None:
        self.problem = ""
        self._read = read
        self._parse = parse
        self._accept = accept
        self._tell = refuse
        self._seen = self._judged = first

    async def look(self) -> None:
        """One look. A new content counts once it was the same at two of them: half a file may be a valid one."""
        try:
            content = await asyncio.to_thread(self._read)
        except ConfigError as exc:
            self._judged = ""  # what comes back is judged anew, be it what was there before
            self._refuse(str(exc))
            return
        version = version_of(content)
        settled, self._seen = version == self._seen, version
        if settled and version != self._judged:
            self._judged = version
            await self._judge(content)

    async def _judge(self, content: bytes) -> None:
        try:
            found = await asyncio.to_thread(self._parse, content)
        except ConfigError as exc:
            self._refuse(str(exc))
        else:
            self._accept(found)
            self.problem = ""

    def _refuse(self, why: str) -> None:
        if why != self.problem:  # else the same as a second ago
            self._tell(why)
        self.problem = why


def version_of(content: bytes) -> str:
    """Digest of a content."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()
