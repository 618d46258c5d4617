"""Runs the gateway in this process until SIGTERM or SIGINT."""

import signal
import socket
from collections.abc import Callable

from models.contract.errors import ConfigError
from service.gateway.app import create_app
from service.gateway.logs.records import start_logging
from service.gateway.processes.slot import Slot
from service.gateway.security.keys_file import load_keyring
from service.gateway.server import DrainingServer, bind, check_port, server_config
from service.gateway.settings import Settings
from service.gateway.stop import Stop


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until a signal asks to stop; requests in flight are finished first. Port 0 takes a free one.

    Raises:
        ConfigError: the keys file, or a port, cannot be used.
    """
    check(settings, port)
    start_logging(settings.logging.format)
    with bind(host, port) as listener:
        run(settings, listener)


def check(settings: Settings, port: int) -> None:
    """Whether the service can be started: what is wrong is one line, not a traceback of the start.

    Raises:
        ConfigError: the keys file, or the operators' port, cannot be used.
    """
    if port and port == settings.admin.port:
        raise ConfigError(f"admin.port: {port} is the service's own; expected another one")
    if settings.admin.port:
        try:
            check_port(settings.admin.host, settings.admin.port)
        except OSError as exc:
            raise ConfigError(f"admin: {settings.admin.host}:{settings.admin.port}: {exc.strerror}") from exc
    if settings.security.keys_file is not None:
        load_keyring(settings.security.keys_file)


def run(
    settings: Settings, listener: socket.socket, slot: Slot | None = None, started: Callable[[], None] = lambda: None
) -> None:
    """Serve on a socket that listens.

    Args:
        settings: of the gateway.
        listener: where it accepts.
        slot: its place where there are several processes.
        started: called once it accepts.

    Raises:
        ConfigError: the file of experiments cannot be used.
    """
    stop = Stop()
    host, port = listener.getsockname()[:2]
    config = server_config(create_app(settings, stop, slot), host, port, settings.http, stop)
    # A signal may come before uvicorn hears it, which raises it again once it has stopped: asked for, it is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.ask())
    DrainingServer(config, stop, settings.http.drain_s, started).run([listener])
