"""How both ports are served: by uvicorn, with limits on connections, headers on every answer, and a gentle end."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import FrameType, MappingProxyType

import uvicorn
from starlette.types import ASGIApp

from models.contract.errors import ConfigError
from service.gateway.protocol import Headers, LimitedProtocol, limited
from service.gateway.security.settings import HttpSettings
from service.gateway.stop import Stop

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10
SETTLE_SECONDS = 0.2  # for what was sent just before the end
TICK_SECONDS = 0.05
# No browser has any business here, but on pages: nothing is kept, guessed, framed, or fetched from an answer.
SECURITY_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
]


def server_config(
    app: ASGIApp,
    host: str,
    port: int,
    limits: HttpSettings,
    stop: Stop | None = None,
    pages: Mapping[bytes, Headers] = MappingProxyType({}),
) -> uvicorn.Config:
    """uvicorn's configuration for either port.

    Args:
        app: what is served.
        host: address to listen on.
        port: TCP port.
        limits: what a connection may cost.
        stop: once it was asked for, an answer is the last of its connection.
        pages: headers that answers below a path have instead of ``SECURITY_HEADERS``, by the path's first part.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=limited(limits, stop or Stop(), pages),
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


class DrainingServer(uvicorn.Server):
    """The server that owns the process. From a signal to its end no request is lost:

    1. For ``drain_seconds`` it answers as before, /readyz says 503, and each answer ends its connection: whoever sends
       the requests has time to send them elsewhere.
    2. The listening sockets close. The kernel would reset the connections that nobody has accepted yet: they are.
    3. Connections close, those first that nobody uses; those with unread bytes, which would be reset, when answered.

    Args:
        config: of :func:`server_config`.
        stop: told of the signal at once.
        drain_seconds: how long; a second SIGINT ends it.
        on_start: called once it accepts.
    """

    def __init__(
        self, config: uvicorn.Config, stop: Stop, drain_seconds: float, on_start: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._stop = stop
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()
        self.should_exit = self.should_exit or self._stop.asked  # before its own handlers were there

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stop.ask()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in self.server_state.connections:
            if isinstance(connection, LimitedProtocol):
                connection.finish()
        await self._drain()
        late = [connection for listener in sockets or [] for connection in _unaccepted(listener)]
        for server in self.servers:
            server.close()
        for accepted in late:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, accepted)
        await asyncio.sleep(SETTLE_SECONDS)
        await super().shutdown(sockets)

    async def _drain(self) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + self._drain_seconds
        while clock() < until and not self.force_exit:
            await self.on_tick(0)  # the answers' date goes on
            await asyncio.sleep(TICK_SECONDS)

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def _unaccepted(listener: socket.socket) -> Iterator[socket.socket]:
    listener.setblocking(False)
    while True:
        try:
            yield listener.accept()[0]
        except OSError:  # there is none
            return


class _Beside(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the server that owns the process."""
        yield


def check_port(host: str, port: int) -> None:
    """Raise OSError where nobody could listen there. A start can then be refused in one line."""
    _bound(host, port).close()


def bind(host: str, port: int) -> socket.socket:
    """The service's socket, which nobody is connected to before the server listens; port 0 takes a free one.

    Raises:
        ConfigError: nobody can listen there.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise ConfigError(f"{host}:{port}: {exc.strerror}") from exc
    return listener


def _listening(host: str, port: int) -> socket.socket:
    listener = _bound(host, port)
    logger.info("operators' port: %s:%d", *listener.getsockname()[:2])
    return listener


def _bound(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
