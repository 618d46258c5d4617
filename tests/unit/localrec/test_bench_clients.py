"""Clients and proxy of the fault bench, before a small server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from support.processes import free_port

from localrec.bench.faults.clients import Clients
from localrec.bench.faults.proxy import Proxy
from localrec.bench.mixed import Request
from localrec.bench.stub_worker import GARBAGE
from service.wire import FANOUT_PATH

KNOWN, MISTAKE = Request({"user_id": "u0"}, 0), Request({"user_id": "u0", "n": 0}, None)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    app, port = web.Application(), free_port()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield port
    finally:
        await runner.cleanup()


async def ask(ports: list[int], request: Request, count: int = 3) -> list[str]:
    """How so many requests ended, for clients whose every list is right."""
    clients, stop = Clients(ports, lambda answer, asked: "right", 0.2), asyncio.Event()
    left = iter([request] * count)

    def draw() -> Request:
        drawn = next(left)
        if left.__length_hint__() == 0:
            stop.set()
        return drawn

    await clients.send(draw, 100.0, stop)
    return [seen.end for seen in clients.seen]


def answers(status: int) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"reasons": [], "model_version": "b"}, status=status)

    return handler


@pytest.mark.parametrize(
    ("status", "request_", "end"),
    [
        (200, KNOWN, "right"),
        (503, KNOWN, "shed"),
        (500, KNOWN, "failed"),
        (422, KNOWN, "failed"),
        (422, MISTAKE, "mistake"),
        (200, MISTAKE, "failed"),
        (503, MISTAKE, "shed"),
    ],
)
async def test_how_a_request_ends(status: int, request_: Request, end: str):
    async with listening(answers(status)) as port:
        assert await ask([port], request_) == [end] * 3


async def test_a_refused_connection_is_tried_at_the_next_gateway():
    async with listening(answers(200)) as port:
        assert await ask([free_port(), port], KNOWN) == ["right"] * 3
    assert await ask([free_port()], KNOWN) == ["failed"] * 3


async def test_a_connection_that_breaks_is_a_lost_request_and_tried_nowhere_else():
    async def breaks(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with listening(breaks) as first, listening(answers(200)) as second:
        assert await ask([first, second], KNOWN) == ["failed"] * 3


@asynccontextmanager
async def proxied(handler: Handler) -> AsyncIterator[tuple[Proxy, Callable[[str], Awaitable[tuple[int, bytes]]]]]:
    """A proxy before a worker, and what posts to a path of it."""
    async with listening(handler) as worker_port, aiohttp.ClientSession() as session:
        proxy, port = Proxy(f"http://127.0.0.1:{worker_port}"), free_port()

        async def post(path: str) -> tuple[int, bytes]:
            async with session.post(f"http://127.0.0.1:{port}{path}", data=b"asked") as response:
                return response.status, await response.read()

        async with proxy.listening(port):
            yield proxy, post


async def test_the_proxy_passes_on_what_comes():
    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=418, body=request.path.encode() + await request.read())

    async with proxied(echo) as (_, post):
        assert await post(FANOUT_PATH) == (418, FANOUT_PATH.encode() + b"asked")


async def test_the_proxy_makes_fan_outs_garbage_or_late_and_nothing_else():
    async with proxied(answers(200)) as (proxy, post):
        proxy.garbage = True
        assert await post(FANOUT_PATH) == (200, GARBAGE)
        assert (await post("/v1/load_lora_adapter"))[1] != GARBAGE
        proxy.garbage, proxy.delay_seconds = False, 0.5
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(post(FANOUT_PATH), 0.1)
        assert (await post("/v1/load_lora_adapter"))[0] == 200
