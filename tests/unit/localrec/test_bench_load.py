import asyncio
import math
from collections.abc import AsyncIterator

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from support.processes import free_port

from localrec.bench.load import LoadResult, _due_times, load


class Unfinished(Response):
    """Says that a body comes, and says no more: uvicorn then closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that refuses the body 3, and drops the connection of another one."""

    async def answer(request: Request) -> Response:
        body = await request.body()
        if body == b"break":
            return Unfinished()
        if body == b"degraded":
            return Response(b'{"items":[],"degraded":true}')
        return Response(status_code=503 if body == b"3" else 200)

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


async def test_constant_rate_sends_what_is_due_and_counts_refusals(port: int):
    result = await asyncio.to_thread(load, port, "/x", BODIES, 2, 1.0, 40.0)
    assert (result.sent, len(result.latencies_ms), result.refused, result.failures) == (40, 30, 10, 0)
    assert 20 < result.requests_per_second < 35  # three of four


async def test_degraded_answers_and_the_cost_of_asking_are_counted(port: int):
    result = await asyncio.to_thread(load, port, "/x", [b"0", b"degraded"], 2, 0.5, 40.0)
    assert (len(result.latencies_ms), result.degraded) == (20, 10)
    assert 0 < result.cpu_seconds < result.seconds


async def test_random_arrivals_are_as_many(port: int):
    result = await asyncio.to_thread(load, port, "/x", [b"0"], 2, 0.5, 40.0, poisson_seed=1)
    assert len(result.latencies_ms) == 20


def test_random_arrivals_come_unevenly_within_the_time_and_the_same_again():
    times = _due_times(10.0, 100.0, 1)
    assert times == sorted(times) == _due_times(10.0, 100.0, 1) != _due_times(10.0, 100.0, 2)
    assert 0 <= times[0] < times[-1] < 10.0
    gaps = np.diff(times)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.15)  # as a Poisson process has it


async def test_closed_loop_sends_when_the_last_answer_is_in(port: int):
    result = await asyncio.to_thread(load, port, "/x", BODIES, 2, 0.5)
    assert len(result.latencies_ms) > 30
    assert result.percentile(50) <= result.percentile(99)


async def test_a_connection_that_the_server_closes_is_a_failure_and_made_again(port: int):
    result = await asyncio.to_thread(load, port, "/x", [b"0", b"break"], 1, 0.5, 20.0)
    assert (len(result.latencies_ms), result.failures) == (5, 5)


async def test_connections_that_idle_for_longer_than_the_server_allows_lose_nothing():
    port = free_port()
    app = Starlette(routes=[Route("/x", lambda _: Response(), methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, timeout_keep_alive=1))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    result = await asyncio.to_thread(load, port, "/x", [b""], 64, 3.2, 0.7)  # a request in 1.4 seconds
    assert (len(result.latencies_ms), result.failures) == (3, 0)
    server.should_exit = True
    await serving


def test_goodput_counts_what_came_in_time():
    result = LoadResult(2.0, (10.0, 100.0, 101.0), refused=4, failures=1)
    assert result.within(100.0) == 1.0
    assert result.requests_per_second == 1.5
    assert result.sent == 8
    assert math.isnan(LoadResult(2.0, (), refused=4, failures=0).percentile(99))
