"""Work for a client that has left is cancelled. A handler would otherwise run on to its end."""

import asyncio
from types import TracebackType

from starlette.types import Receive

from service.gateway.errors import ClientGoneError

# Watching costs a task, which is much for a request of half a millisecond and nothing for one that waits for workers.
# Under load the former queue for some milliseconds, too: then it would be a tenth of what they cost.
WATCH_AFTER_SECONDS = 0.02


class ClientWatch:
    """Context manager around a request's work, entered once its body was read.

    Args:
        receive: the request's ASGI receive channel; after the body it says nothing but that the client is gone.

    Raises:
        ClientGoneError: instead of the cancellation that it caused.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._timer = loop.call_later(WATCH_AFTER_SECONDS, self._start)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._gone and self._task is not None:
            self._task.uncancel()
            raise ClientGoneError from exc

    def _start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        if (await self._receive())["type"] != "http.disconnect":
            return
        self._gone = True
        if self._task is not None:
            self._task.cancel()
