"""A start that cannot go well is refused in one line."""

import socket

import pytest

from models.contract.errors import ConfigError
from service.gateway.serve import serve
from service.gateway.settings import Settings


def test_both_ports_must_differ():
    with pytest.raises(ConfigError, match=r"admin\.port: 8080 is the service's own"):
        serve(Settings(admin={"port": 8080}), "127.0.0.1", 8080)


def test_operators_port_must_be_free():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"admin: 127.0.0.1:{port}: .*in use"):
            serve(Settings(admin={"port": port}), "127.0.0.1", 0)
