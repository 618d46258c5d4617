"""An HTTP proxy before a worker that can make its answers late, or nonsense."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from localrec.bench.stub_worker import GARBAGE
from service.wire import FANOUT_PATH


class Proxy:
    """Passes requests on to ``url``, on the loop of the load.

    ``delay_seconds`` and ``garbage`` may be changed at any time. They concern fan-outs only: health is what it is.
    """

    def __init__(self, url: str) -> None:
        self.delay_seconds = 0.0
        self.garbage = False
        self._url = url

    async def answer(self, request: web.Request) -> web.Response:
        """What the worker says, as far as the orders allow."""
        body = await request.read()
        if request.path == FANOUT_PATH:
            await asyncio.sleep(self.delay_seconds)
            if self.garbage:
                return web.Response(body=GARBAGE, content_type="application/json")
        try:
            async with self._session.request(
                request.method, self._url + request.path, data=body, headers=_json(request)
            ) as response:
                return web.Response(
                    status=response.status, body=await response.read(), content_type=response.content_type
                )
        except aiohttp.ClientError:
            return web.Response(status=502)

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        """Listen on loopback while the context lasts."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session:
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", port).start()
                yield
            finally:
                await runner.cleanup()


def _json(request: web.Request) -> dict[str, str]:
    return {"Content-Type": request.content_type}
