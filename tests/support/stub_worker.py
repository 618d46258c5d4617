"""The stub worker as a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.http import request
from support.processes import free_port, wait_until


class StubProcess:
    """A stub worker that can be told to misbehave, killed, and started again on the same port."""

    def __init__(self, base: str, n_items: int) -> None:
        self.base = base
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._n_items = n_items
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        call = f"serve_stub({self.base!r}, {self._n_items}, {self.port})"
        code = f"from localrec.bench.stub_worker import serve_stub; {call}"
        self._process = subprocess.Popen([sys.executable, "-c", code])
        wait_until(self._healthy, what="stub worker")

    def kill(self) -> None:
        """As a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def order(self, **orders: Any) -> None:
        """What to do from now on; without arguments, its duty."""
        assert request(self.port, "POST", "/stub", orders).status == 200

    def counts(self) -> dict[str, Any]:
        """What it was asked so far, and what is loaded."""
        counts: dict[str, Any] = request(self.port, "GET", "/stub").json
        return counts

    def _healthy(self) -> bool:
        try:
            return request(self.port, "GET", "/health").status == 200
        except OSError:
            return False


@contextmanager
def stub_process(base: str, n_items: int) -> Iterator[StubProcess]:
    """A running stub worker."""
    stub = StubProcess(base, n_items)
    stub.start()
    try:
        yield stub
    finally:
        stub.kill()
