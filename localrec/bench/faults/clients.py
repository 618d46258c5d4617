"""Clients of the service: requests at a constant rate, each answer judged.

A connection that is refused is tried at the next gateway. Nothing else is: what was sent has to be answered.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import ClientConnectorError

from localrec.bench.faults.tally import Seen
from localrec.bench.mixed import Request
from localrec.bench.truth import Verdict

PATIENCE_SECONDS = 5.0  # beyond the deadline; then a request counts as lost

Judge = Callable[[Mapping[str, Any], Request], Verdict]


class Clients:
    """Many clients of the gateways that listen on ``ports``, the first that does not refuse first.

    Args:
        ports: of the gateways.
        judge: what an answer is.
        deadline_seconds: of each request.
    """

    def __init__(self, ports: list[int], judge: Judge, deadline_seconds: float) -> None:
        self.seen: list[Seen] = []
        self._ports = ports
        self._judge = judge
        self._timeout = aiohttp.ClientTimeout(total=deadline_seconds + PATIENCE_SECONDS)

    async def send(self, draw: Callable[[], Request], rate: float, stop: asyncio.Event) -> None:
        """Send ``rate`` requests a second, each when it is due whatever came of the others, until ``stop``."""
        started, number = time.perf_counter(), 0
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=self._timeout) as session,
            asyncio.TaskGroup() as asked,
        ):
            while not stop.is_set():
                await asyncio.sleep(started + number / rate - time.perf_counter())
                asked.create_task(self._ask(session, draw()))
                number += 1

    async def _ask(self, session: aiohttp.ClientSession, request: Request) -> None:
        sent_at = time.perf_counter()
        try:
            port, status, answer = await self._post(session, request)
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            self.seen.append(Seen(sent_at, time.perf_counter(), "failed", detail=f"{type(exc).__name__}: {exc}"))
        else:
            self.seen.append(self._classify(sent_at, port, status, answer, request))

    async def _post(self, session: aiohttp.ClientSession, request: Request) -> tuple[int, int, dict[str, Any]]:
        for port in self._ports:
            try:
                async with session.post(f"http://127.0.0.1:{port}/recommend", json=request.body) as response:
                    return port, response.status, await response.json()
            except ClientConnectorError as exc:
                refused = exc
        raise refused

    def _classify(self, sent_at: float, port: int, status: int, answer: dict[str, Any], request: Request) -> Seen:
        ended_at = time.perf_counter()
        if status == 503:
            return Seen(sent_at, ended_at, "shed", port=port)
        if request.user is None and status == 422:
            return Seen(sent_at, ended_at, "mistake", port=port)
        if request.user is None or status != 200:
            return Seen(sent_at, ended_at, "failed", port=port, detail=f"status {status}: {answer}")
        verdict = self._judge(answer, request)
        codes = tuple({reason.partition(":")[0] for reason in answer["reasons"]})
        detail = str(answer) if verdict == "wrong" else ""
        return Seen(sent_at, ended_at, verdict, codes, answer["model_version"], port, detail)
