"""How both ports are served: by uvicorn, with limits on connections and headers on every answer."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from service.gateway.protocol import limited
from service.gateway.security.settings import HttpSettings

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10
# No browser has any business here: nothing is kept, guessed, framed, or fetched from an answer.
SECURITY_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
]


def server_config(app: ASGIApp, host: str, port: int, limits: HttpSettings) -> uvicorn.Config:
    """uvicorn's configuration for either port."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=limited(limits),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here asks for the client's address
        server_header=False,
        headers=SECURITY_HEADERS,
        timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


@asynccontextmanager
async def serving_beside(config: uvicorn.Config) -> AsyncIterator[None]:
    """Serve an application in this loop, beside the server that owns the process. At the end it is drained.

    Raises:
        OSError: the port is taken.
    """
    server = _Beside(config)
    with _listening(config.host, config.port) as listener:
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await task


class _Beside(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the server that owns the process."""
        yield


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    logger.info("operators' port: %s:%d", *listener.getsockname()[:2])
    return listener
