"""HTTP load from one process, closed-loop or at a constant rate.

Over raw sockets with keep-alive, so that the client is not what is measured.
"""

import asyncio
import math
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Self

import numpy as np


@dataclass(frozen=True)
class LoadResult:
    """What the load saw.

    Args:
        seconds: from the first request to the last answer.
        latencies_ms: of the answers with 200.
        refused: requests that were turned away with 503.
        failures: all others: another status, or no answer.
    """

    seconds: float
    latencies_ms: tuple[float, ...]
    refused: int
    failures: int

    @property
    def sent(self) -> int:
        return len(self.latencies_ms) + self.refused + self.failures

    @property
    def requests_per_second(self) -> float:
        """Answers with 200 a second."""
        return len(self.latencies_ms) / self.seconds

    def within(self, deadline_ms: float) -> float:
        """Answers with 200 a second that came by the deadline: the goodput."""
        return sum(latency <= deadline_ms for latency in self.latencies_ms) / self.seconds

    def percentile(self, q: float) -> float:
        """A percentile of the latencies in milliseconds; NaN where nothing was answered."""
        return float(np.percentile(self.latencies_ms, q)) if self.latencies_ms else math.nan


@dataclass
class _Heard:
    """The same while it grows, of all connections."""

    latencies_ms: list[float] = field(default_factory=list)
    refused: int = 0
    failures: int = 0

    def note(self, status: int, seconds: float) -> None:
        if status == 200:
            self.latencies_ms.append(seconds * 1e3)
        elif status == 503:
            self.refused += 1
        else:
            self.failures += 1


def load(
    port: int, path: str, bodies: Sequence[bytes], connections: int, seconds: float, rate: float | None = None
) -> LoadResult:
    """POST the bodies in turn for some seconds, over so many connections, from a process of its own.

    Args:
        port: on loopback.
        path: of the requests.
        bodies: taken in turn.
        connections: each with one request in flight.
        seconds: how long.
        rate: requests per second, sent when they are due whatever came of the others; latency counts from then, so that
            what waits for a connection counts, too. None: each connection sends when its last answer is in.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (port, path, list(bodies), connections, seconds, rate))


def _run(port: int, path: str, bodies: list[bytes], connections: int, seconds: float, rate: float | None) -> LoadResult:
    return asyncio.run(_drive(port, path, bodies, connections, seconds, rate))


async def _drive(
    port: int, path: str, bodies: list[bytes], connections: int, seconds: float, rate: float | None
) -> LoadResult:
    requests, heard = [_request(path, body) for body in bodies], _Heard()
    clients = [await _Client.connect(port, requests[at % len(requests) :: connections]) for at in range(connections)]
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for at, client in enumerate(clients):
            group.create_task(client.send(_due(started, seconds, at, connections, rate), heard))
    return LoadResult(time.perf_counter() - started, tuple(heard.latencies_ms), heard.refused, heard.failures)


def _due(started: float, seconds: float, at: int, connections: int, rate: float | None) -> Iterator[float]:
    """When connection number ``at`` has to send, until the time is over."""
    until = started + seconds
    if rate is None:
        while (now := time.perf_counter()) < until:
            yield now
    else:
        yield from takewhile(lambda due: due < until, (started + n / rate for n in count(at, connections)))


@dataclass
class _Client:
    """One connection, made again where the server closes it."""

    port: int
    requests: list[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, port: int, requests: list[bytes]) -> Self:
        return cls(port, requests, *await asyncio.open_connection("127.0.0.1", port))

    async def send(self, due: Iterator[float], heard: _Heard) -> None:
        """Send each request when it is due, or when the one before it has been answered."""
        for sent, began in enumerate(due):
            await asyncio.sleep(max(began - time.perf_counter(), 0.0))
            status = await self._exchange(self.requests[sent % len(self.requests)])
            heard.note(status, time.perf_counter() - began)
        self.writer.close()

    async def _exchange(self, request: bytes) -> int:
        """The status of the answer; 0 where there is none."""
        try:
            self.writer.write(request)
            head = await self.reader.readuntil(b"\r\n\r\n")
            await self.reader.readexactly(_content_length(head))
        except (OSError, asyncio.IncompleteReadError):
            self.writer.close()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            return 0
        return int(head[9:12])


def _request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _content_length(head: bytes) -> int:
    at = head.lower().index(b"content-length:") + len(b"content-length:")
    return int(head[at : head.index(b"\r", at)])
