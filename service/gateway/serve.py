"""Runs the gateway in this process until SIGTERM or SIGINT."""

import signal

from models.contract.errors import ConfigError
from service.gateway.app import create_app
from service.gateway.logs.records import start_logging
from service.gateway.security.keys_file import load_keyring
from service.gateway.server import DrainingServer, check_port, server_config
from service.gateway.settings import Settings
from service.gateway.stop import Stop


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until a signal asks to stop; requests in flight are finished first. Port 0 takes a free one.

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
        load_keyring(settings.security.keys_file)  # a file that is wrong is one line, not a traceback of the start
    start_logging(settings.logging.format)
    stop = Stop()
    config = server_config(create_app(settings, stop), host, port, settings.http, stop)
    # uvicorn raises the signal again once it has stopped; a stop that was asked for is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    DrainingServer(config, stop, settings.http.drain_s).run([config.bind_socket()])
