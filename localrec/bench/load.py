"""Closed-loop HTTP load from one process: raw sockets with keep-alive, so that the client is not what is measured."""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LoadResult:
    """What the load saw: requests per second, latencies in milliseconds, and how many answers were not 200."""

    requests_per_second: float
    latencies_ms: tuple[float, ...]
    failures: int

    def percentile(self, q: float) -> float:
        """A percentile of the latencies in milliseconds."""
        return float(np.percentile(self.latencies_ms, q))


def load(port: int, path: str, bodies: Sequence[bytes], connections: int, seconds: float) -> LoadResult:
    """POST the bodies in turn for some seconds, over so many connections, from a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (port, path, list(bodies), connections, seconds))


def _run(port: int, path: str, bodies: list[bytes], connections: int, seconds: float) -> LoadResult:
    return asyncio.run(_drive(port, path, bodies, connections, seconds))


async def _drive(port: int, path: str, bodies: list[bytes], connections: int, seconds: float) -> LoadResult:
    requests = [_request(path, body) for body in bodies]
    latencies: list[float] = []
    started = time.perf_counter()
    until = started + seconds
    clients = [_client(port, requests[at::connections], until, latencies) for at in range(connections)]
    failures = sum(await asyncio.gather(*clients))
    return LoadResult(len(latencies) / (time.perf_counter() - started), tuple(latencies), failures)


async def _client(port: int, requests: list[bytes], until: float, latencies: list[float]) -> int:
    """One connection: the next request goes out when the last answer is in. Returns the failures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    failures, sent = 0, 0
    while (began := time.perf_counter()) < until:
        writer.write(requests[sent % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_content_length(head))
        latencies.append((time.perf_counter() - began) * 1e3)
        failures += not head.startswith(b"HTTP/1.1 200")
        sent += 1
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
