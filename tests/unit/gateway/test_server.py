"""A server beside the one that owns the process."""

import asyncio
import signal
import socket

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from support.processes import free_port

from service.gateway.security.settings import HttpSettings
from service.gateway.server import server_config, serving_beside

GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await asyncio.sleep(0.3)
        await Response(b"done")(scope, receive, send)


async def test_request_in_flight_is_answered_and_signals_are_left_alone():
    port, handler = free_port(), signal.getsignal(signal.SIGTERM)
    async with serving_beside(server_config(slow, "127.0.0.1", port, HttpSettings())):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await asyncio.sleep(0.1)
        assert signal.getsignal(signal.SIGTERM) is handler
    assert (await reader.read()).endswith(b"done")
    writer.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_port_that_is_taken_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = server_config(slow, "127.0.0.1", taken.getsockname()[1], HttpSettings())
        with pytest.raises(OSError, match="in use"):
            async with serving_beside(config):
                pass
