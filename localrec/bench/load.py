"""HTTP load from one process, closed-loop or at a constant rate.

Over raw sockets with keep-alive, so that the client is not what is measured.
"""

import asyncio
import math
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import uvloop

ANSWER_SECONDS = 30.0  # more than the longest deadline: who takes longer does not answer
DEGRADED = b'"degraded":true'


@dataclass(frozen=True)
class LoadResult:
    """What the load saw.

    Args:
        seconds: from the first request to the last answer.
        latencies_ms: of the answers with 200.
        refused: requests that were turned away with 503.
        failures: all others: another status, or no answer.
        degraded: of the answers with 200, those that say so.
        cpu_seconds: what sending and reading took this process.
    """

    seconds: float
    latencies_ms: tuple[float, ...]
    refused: int
    failures: int
    degraded: int = 0
    cpu_seconds: float = 0.0

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
    degraded: int = 0

    def note(self, status: int, body: bytes, seconds: float) -> None:
        if status == 200:
            self.latencies_ms.append(seconds * 1e3)
            self.degraded += DEGRADED in body
        elif status == 503:
            self.refused += 1
        else:
            self.failures += 1

    def result(self, seconds: float, cpu_seconds: float) -> LoadResult:
        """What was heard in all, in so many seconds."""
        return LoadResult(seconds, tuple(self.latencies_ms), self.refused, self.failures, self.degraded, cpu_seconds)


def load(
    port: int,
    path: str,
    bodies: Sequence[bytes],
    connections: int,
    seconds: float,
    rate: float | None = None,
    *,
    poisson_seed: int | None = None,
    host: str = "127.0.0.1",
) -> LoadResult:
    """POST the bodies in turn for some seconds, over so many connections, from a process of its own.

    Args:
        port: where the service listens.
        path: of the requests.
        bodies: taken in turn.
        connections: each with one request in flight; of a constant rate, as many of them as are needed, at most.
        seconds: how long.
        rate: requests per second, sent when they are due whatever came of the others; latency counts from then, so that
            what waits for a connection counts, too. None: each connection sends when its last answer is in.
        poisson_seed: of the times at which requests are due, as callers who know nothing of each other come; None: they
            come evenly.
        host: of the service.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        times = None if rate is None else _due_times(seconds, rate, poisson_seed)
        return pool.apply(_run, ((host, port), path, list(bodies), connections, seconds, times))


def _due_times(seconds: float, rate: float, poisson_seed: int | None) -> list[float]:
    """When requests are due, in seconds since the start; as many, however they come."""
    count = math.ceil(seconds * rate)
    if poisson_seed is None:
        return [number / rate for number in range(count)]
    # Given how many there are, the times of a Poisson process are those of as many evenly drawn ones.
    times: list[float] = np.sort(np.random.default_rng(poisson_seed).uniform(0.0, seconds, count)).tolist()
    return times


def _run(
    address: tuple[str, int],
    path: str,
    bodies: list[bytes],
    connections: int,
    seconds: float,
    times: list[float] | None,
) -> LoadResult:
    # half of what asyncio's own loop costs
    return uvloop.run(_drive(address, path, bodies, connections, seconds, times))


async def _drive(
    address: tuple[str, int],
    path: str,
    bodies: list[bytes],
    connections: int,
    seconds: float,
    times: list[float] | None,
) -> LoadResult:
    clients = _Clients(address, [_request(path, body) for body in bodies], connections)
    await clients.open(connections if times is None else min(connections, math.ceil(len(times) / seconds)))
    started, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        if times is None:
            for at in range(connections):
                group.create_task(_in_turn(clients, at, connections, started + seconds))
        else:
            await _when_due(clients, group, started, times)
    return clients.heard.result(time.perf_counter() - started, time.process_time() - cpu)


async def _in_turn(clients: "_Clients", at: int, step: int, until: float) -> None:
    """Send requests number ``at``, ``at + step``, …, each when the one before it has been answered."""
    for number in count(at, step):
        if (now := time.perf_counter()) >= until:
            return
        await clients.ask(number, now)


async def _when_due(clients: "_Clients", group: asyncio.TaskGroup, started: float, times: Sequence[float]) -> None:
    """Send each request when it is due. The loop's clock counts milliseconds: it may be half of one early."""
    for number, since_start in enumerate(times):
        due = started + since_start
        await asyncio.sleep(max(due - time.perf_counter(), 0.0))
        group.create_task(clients.ask(number, min(due, time.perf_counter())))


class _Clients:
    """Connections with one request in flight each, more of them when they are needed.

    The one that was used last is used next: those that nobody needs may be closed by the server meanwhile.

    Args:
        address: host and port.
        requests: taken in turn.
        most: connections at one time; more requests wait.
    """

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], most: int) -> None:
        self._address = address
        self._requests = requests
        self._places = asyncio.Semaphore(most)
        self._idle: list[_Client] = []
        self.heard = _Heard()

    async def open(self, count: int) -> None:
        """Make connections one by one: of many at one time a busy server drops some, and those wait for a second."""
        self._idle += [await self._connect() for _ in range(count)]

    async def ask(self, number: int, began: float) -> None:
        """Send a request and note what comes of it, and how long after ``began``."""
        async with self._places:
            client = self._idle.pop() if self._idle else None
            try:
                if client is None or client.reader.at_eof():
                    client = await self._connect()
            except OSError:
                self.heard.note(0, b"", time.perf_counter() - began)
                return
            status, body = await client.exchange(self._requests[number % len(self._requests)])
            self.heard.note(status, body, time.perf_counter() - began)
            if status:
                self._idle.append(client)

    async def _connect(self) -> "_Client":
        return _Client(*await asyncio.open_connection(*self._address))


@dataclass(frozen=True)
class _Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; 0 where there is none in time, and the connection has ended."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self.writer.write(request)
                head = await self.reader.readuntil(b"\r\n\r\n")
                body = await self.reader.readexactly(_content_length(head))
        except (OSError, asyncio.IncompleteReadError):
            self.writer.close()
            return 0, b""
        return int(head[9:12]), body


def _request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _content_length(head: bytes) -> int:
    at = head.lower().index(b"content-length:") + len(b"content-length:")
    return int(head[at : head.index(b"\r", at)])
