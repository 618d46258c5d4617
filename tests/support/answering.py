"""A server that speaks as much of the service's contract as a load test needs, and misbehaves as it is told."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from support.processes import free_port, wait_until

LIST = {
    "items": [{"item_id": str(number)} for number in range(10)],
    "pipeline": "local",
    "experiments": {},
    "degraded": False,
    "reasons": [],
    "timings_ms": {"total": 0.1},
}


class Answering:
    """Answers with ``status``, and stands still once.

    Args:
        status: of its answers.
        ready: what /readyz says.
        stall_after_seconds: when it stands still, from its first request on; stall_seconds: for how long.

    Attributes:
        user_ids: of the requests, in their order.
    """

    def __init__(self, status: int, ready: bool, stall_after_seconds: float, stall_seconds: float) -> None:
        self.user_ids: list[str] = []
        self.port = free_port()
        self._status, self._ready = status, ready
        self._stall_after_seconds, self._stall_seconds = stall_after_seconds, stall_seconds
        self._first_at: float | None = None

    @property
    def app(self) -> Starlette:
        async def ready(_: Request) -> Response:
            return JSONResponse({"ready": self._ready, "reasons": []}, 200 if self._ready else 503)

        async def metrics(_: Request) -> Response:
            return PlainTextResponse("# TYPE up gauge\nup 1\n")

        return Starlette(
            routes=[
                Route("/readyz", ready),
                Route("/metrics", metrics),
                Route("/recommend", self._recommend, methods=["POST"]),
            ]
        )

    async def _recommend(self, request: Request) -> Response:
        self.user_ids.append(json.loads(await request.body())["user_id"])
        now = time.monotonic()
        self._first_at = self._first_at or now
        if self._stall_seconds and now - self._first_at > self._stall_after_seconds:
            seconds, self._stall_seconds = self._stall_seconds, 0.0
            time.sleep(seconds)  # noqa: ASYNC251 - nobody is answered meanwhile
        if self._status != 200:
            return JSONResponse({"error": {"code": "internal"}}, self._status)
        return JSONResponse(LIST)


@contextmanager
def answering(
    status: int = 200, *, ready: bool = True, stall_after_seconds: float = 0.0, stall_seconds: float = 0.0
) -> Iterator[Answering]:
    """Such a server on a port of loopback, while the context lasts."""
    speaker = Answering(status, ready, stall_after_seconds, stall_seconds)
    server = uvicorn.Server(uvicorn.Config(speaker.app, port=speaker.port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, what="uvicorn")
        yield speaker
    finally:
        server.should_exit = True
        thread.join(20)
