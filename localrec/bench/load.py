"""HTTP load from one process, closed-loop or at a constant rate.

Over raw sockets with keep-alive, so that the client is not what is measured.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

import numpy as np


@dataclass(frozen=True)
class LoadResult:
    """What the load saw: answers with 200 a second, latencies in milliseconds, and how many answers were not 200."""

    requests_per_second: float
    latencies_ms: tuple[float, ...]
    failures: int

    def percentile(self, q: float) -> float:
        """A percentile of the latencies in milliseconds."""
        return float(np.percentile(self.latencies_ms, q))


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
    requests = [_request(path, body) for body in bodies]
    latencies: list[float] = []
    started = time.perf_counter()
    clients = [
        _client(
            port, requests[at % len(requests) :: connections], _due(started, seconds, at, connections, rate), latencies
        )
        for at in range(connections)
    ]
    failures = sum(await asyncio.gather(*clients))
    answered = len(latencies) - failures
    return LoadResult(answered / (time.perf_counter() - started), tuple(latencies), failures)


def _due(started: float, seconds: float, at: int, connections: int, rate: float | None) -> Iterator[float]:
    """When connection number ``at`` has to send, until the time is over."""
    until = started + seconds
    if rate is None:
        while (now := time.perf_counter()) < until:
            yield now
    else:
        yield from takewhile(lambda due: due < until, (started + n / rate for n in count(at, connections)))


async def _client(port: int, requests: list[bytes], due: Iterator[float], latencies: list[float]) -> int:
    """One connection. Returns the failures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    failures = 0
    for sent, began in enumerate(due):
        await asyncio.sleep(max(began - time.perf_counter(), 0.0))
        writer.write(requests[sent % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_content_length(head))
        latencies.append((time.perf_counter() - began) * 1e3)
        failures += not head.startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()
    return failures


def _request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _content_length(head: bytes) -> int:
    at = head.lower().index(b"content-length:") + len(b"content-length:")
    return int(head[at : head.index(b"\r", at)])
