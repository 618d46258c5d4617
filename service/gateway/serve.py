"""Runs the gateway in this process until SIGTERM or SIGINT."""

import logging
import signal

import uvicorn

from service.gateway.app import create_app
from service.gateway.settings import Settings

GRACE_SECONDS = 10


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until a signal asks to stop; requests in flight are finished first. Port 0 takes a free one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = uvicorn.Config(
        create_app(settings),
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here asks for the client's address
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # uvicorn raises the signal again once it has stopped; a stop that was asked for is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run()
