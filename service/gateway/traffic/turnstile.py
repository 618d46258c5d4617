"""How a batch goes to work without keeping others from theirs."""

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType


class Turnstile(AbstractAsyncContextManager[None]):
    """Lets some through at one time, and after each of them whoever else is on the loop: a hundred answers that need no
    worker would otherwise be made in one turn.

    Args:
        places: how many are inside at one time.
    """

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)

    async def __aenter__(self) -> None:
        await self._places.acquire()
        try:
            await asyncio.sleep(0)
        except BaseException:
            self._places.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._places.release()
