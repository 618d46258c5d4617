"""Certificates made by openssl, and TLS in front of a redis-server that has none of its own."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.processes import free_port, wait_until

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


@dataclass(frozen=True)
class Authority:
    """An authority, and what it signed for a server at 127.0.0.1 and for a client."""

    directory: Path

    def path(self, name: str) -> Path:
        """``ca.pem``, ``server.pem``, ``server.key``, ``client.pem``, ``client.key``."""
        return self.directory / name


def make_authority(directory: Path) -> Authority:
    """Keys and certificates in a directory. Skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates")
    directory.mkdir(parents=True, exist_ok=True)
    _certify(directory, "ca", [])
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    _certify(directory, "server", [*signed, "-addext", "subjectAltName=IP:127.0.0.1"])
    _certify(directory, "client", signed)
    return Authority(directory)


def _certify(directory: Path, name: str, options: list[str]) -> None:
    files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"]
    command = ["openssl", "req", "-x509", *NEW_KEY, *files, *options]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)


@contextmanager
def tls_front(redis_socket: str, authority: Authority) -> Iterator[int]:
    """Port of a process that ends TLS in front of a unix socket, and wants a certificate of the client."""
    port = free_port()
    command = [sys.executable, Path(__file__).with_name("tls_front.py"), str(port), redis_socket, authority.directory]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _listens(port), what="TLS")
            yield port
        finally:
            process.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
