"""Servers that a command starts beside itself, on loopback, and ends."""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.contract.errors import LocalRecError

STOP_SECONDS = 30.0
TIMEOUT_SECONDS = 15.0  # of an answer: more than the longest deadline
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def server(
    command: Sequence[str],
    port: int,
    *,
    ready_path: str,
    start_seconds: float = 30.0,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the context ends; begins when ``GET ready_path`` says 200.

    Args:
        command: arguments of the process.
        port: where it will listen.
        ready_path: what says that it is ready.
        start_seconds: how long that may take.
        environment: variables beside this process's own.
        log: file for its output; default: this process's output.

    Raises:
        LocalRecError: somebody listens on the port already, or the process ended, or was not ready in time.
    """
    if _listens(port):
        raise LocalRecError(f"port {port} is taken: another process listens there")
    output = log.open("wb") if log is not None else None
    try:
        process = subprocess.Popen(command, env=os.environ | dict(environment or {}), stdout=output, stderr=output)  # noqa: S603 - our own commands
    finally:
        if output is not None:
            output.close()
    try:
        _wait_ready(process, port, ready_path, start_seconds, log)
        yield process
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and end it where it has not after ``STOP_SECONDS``."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_workers(gateway_port: int, seconds: float) -> None:
    """Wait until the gateway has loaded the adapters; meanwhile it answers without them, from its fallbacks.

    Raises LocalRecError where that takes longer.
    """
    deadline = time.monotonic() + seconds
    while True:
        status, body = get(gateway_port, "/readyz")
        if status == 200 and not json.loads(body)["warnings"]:
            return
        if time.monotonic() > deadline:
            raise LocalRecError(f"workers are not ready after {seconds:g} s: {body.decode()}")
        time.sleep(0.1)


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET; status 0 where nobody listens or the answer is no HTTP."""
    return _exchange(port, "GET", path, None)


def post(
    port: int,
    path: str,
    body: Any,
    headers: Mapping[str, str] = NO_HEADERS,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> tuple[int, bytes]:
    """Status and body of a POST of JSON; status 0 where nobody listens or the answer is no HTTP, or too late."""
    return _exchange(port, "POST", path, json.dumps(body), headers, timeout_seconds)


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _wait_ready(
    process: "subprocess.Popen[bytes]", port: int, path: str, start_seconds: float, log: Path | None
) -> None:
    deadline = time.monotonic() + start_seconds
    while get(port, path)[0] != 200:
        hint = f"; see {log}" if log is not None else ""
        if process.poll() is not None:
            raise LocalRecError(f"the server for port {port} ended with exit code {process.returncode}{hint}")
        if time.monotonic() > deadline:
            raise LocalRecError(f"no 200 from {path} on port {port} within {start_seconds:g} s{hint}")
        time.sleep(0.05)


def _exchange(
    port: int,
    method: str,
    path: str,
    body: str | None,
    headers: Mapping[str, str] = NO_HEADERS,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        of_body = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, body, {**of_body, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
