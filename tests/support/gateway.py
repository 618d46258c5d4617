"""A gateway on a real uvicorn in a thread of the test's process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from support.http import Reply, request
from support.processes import free_port, wait_until

from service.gateway.app import create_app
from service.gateway.server import server_config
from service.gateway.settings import Settings


class RunningGateway:
    """Speaks to a gateway that runs."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> Reply:
        return request(self.port, "GET", path)

    def recommend(self, user_id: str = "u0", **fields: Any) -> Any:
        """The body of an answer that must be 200."""
        reply = self.post({"user_id": user_id, **fields})
        assert reply.status == 200, reply.body
        return reply.json

    def post(self, body: Any, **options: Any) -> Reply:
        return request(self.port, "POST", "/recommend", body, **options)

    def metric(self, line_start: str) -> float:
        """Sum of the samples whose line starts so."""
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(line_start))

    def wait_ready(self) -> None:
        """Until it serves a bundle and all its workers are prepared."""
        wait_until(lambda: self._state() == (True, []), what="gateway")

    def _state(self) -> tuple[bool, list[str]]:
        body = self.get("/readyz").json
        return body["ready"], body["warnings"]


@contextmanager
def at_work(gateway: RunningGateway) -> Iterator[None]:
    """While the gateway answers one request of its own, and until it has; its workers should take their time."""
    slow = threading.Thread(target=gateway.recommend)
    slow.start()
    try:
        wait_until(lambda: gateway.metric("localrec_requests_in_flight") == 1)
        yield
    finally:
        slow.join()


@contextmanager
def running_gateway(settings: Settings) -> Iterator[RunningGateway]:
    """A gateway that listens, whether or not it is ready."""
    port = free_port()
    server = uvicorn.Server(server_config(create_app(settings), "127.0.0.1", port, settings.http))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), what="uvicorn")
        yield RunningGateway(port)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
