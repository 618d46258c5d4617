import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support.processes import free_port

from localrec.bench.load import load


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that refuses every fourth body."""

    async def answer(request: Request) -> Response:
        return Response(status_code=503 if await request.body() == b"3" else 200)

    port = free_port()
    app = Starlette(routes=[Route("/x", answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield port
    server.should_exit = True
    await serving


BODIES = [b"0", b"1", b"2", b"3"]


async def test_constant_rate_sends_what_is_due_and_counts_failures(port: int):
    result = await asyncio.to_thread(load, port, "/x", BODIES, 2, 1.0, 40.0)
    assert len(result.latencies_ms) == 40
    assert result.failures == 10
    assert 20 < result.requests_per_second < 35  # three of four


async def test_closed_loop_sends_when_the_last_answer_is_in(port: int):
    result = await asyncio.to_thread(load, port, "/x", BODIES, 2, 0.5)
    assert len(result.latencies_ms) > 40
    assert result.percentile(50) <= result.percentile(99)
