"""A start that cannot go well is refused in one line."""

import signal
import socket
import time

import pytest

from models.contract.errors import ConfigError
from service.gateway.serve import run, serve
from service.gateway.server import DrainingServer, bind
from service.gateway.settings import Settings


def test_both_ports_must_differ():
    with pytest.raises(ConfigError, match=r"admin\.port: 8080 is the service's own"):
        serve(Settings(admin={"port": 8080}), "127.0.0.1", 8080)


def test_operators_port_must_be_free():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"admin: 127.0.0.1:{port}: .*in use"):
            serve(Settings(admin={"port": port}), "127.0.0.1", 0)


def test_a_signal_before_the_server_hears_it_is_not_lost(monkeypatch: pytest.MonkeyPatch):
    begin = DrainingServer.run

    def signalled(server: DrainingServer, sockets: list[socket.socket] | None = None) -> None:
        signal.raise_signal(signal.SIGTERM)  # its own handlers come later
        signal.signal(signal.SIGALRM, lambda *_: server.handle_exit(signal.SIGTERM, None))
        signal.setitimer(signal.ITIMER_REAL, 5.0)
        begin(server, sockets)

    monkeypatch.setattr(DrainingServer, "run", signalled)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    began = time.monotonic()
    try:
        with bind("127.0.0.1", 0) as listener:
            run(Settings(redis_url="redis://127.0.0.1:1", http={"drain_s": 0}), listener)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert time.monotonic() - began < 5
