"""Servers that a benchmark starts beside itself."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models.contract.errors import LocalRecError

START_SECONDS = 30.0
# One thread a process: numpy's pool would fight with the other processes for the cores.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def python_server(code: str, port: int, path: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Python code that serves on ``port`` until the context ends; begins when ``GET path`` says 200."""
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | ENVIRONMENT)  # noqa: S603 - our own code
    try:
        deadline = time.monotonic() + START_SECONDS
        while get(port, path)[0] != 200:
            if process.poll() is not None or time.monotonic() > deadline:
                raise LocalRecError(f"no 200 from {path} on port {port} within {START_SECONDS} s")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET; status 0 where nobody listens."""
    return _exchange(port, "GET", path, None)


def post(port: int, path: str, body: Any) -> tuple[int, bytes]:
    """Status and body of a POST of JSON; status 0 where nobody listens."""
    return _exchange(port, "POST", path, json.dumps(body))


def _exchange(port: int, method: str, path: str, body: str | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()
