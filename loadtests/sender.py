"""Sends what is due, whatever became of what was sent before: locust's part of it, on gevent."""

import time
from collections.abc import Callable
from math import nan
from urllib.parse import urlsplit

import gevent
from gevent.pool import Pool
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

from loadtests.answers import Reply, perform
from loadtests.plan import Plan
from loadtests.schedule import shared
from loadtests.target import bearer
from loadtests.traffic import Request

BLOCK_BYTES = 2**16
ROWS = 500  # of one message
EARLY_SECONDS = 0.0005  # the loop's clock counts milliseconds: it may be half of one early

Row = tuple[float, float, float, float, list[object]]


class Sender:
    """One process' share of a run.

    Args:
        plan: the run.
        index, processes: every ``processes``-th request from number ``index`` on is this process's.
        start_at: when the run begins, in seconds since 1970.
        deliver: takes rows of samples now and then.
    """

    def __init__(
        self, plan: Plan, index: int, processes: int, start_at: float, deliver: Callable[[list[Row]], None]
    ) -> None:
        self._plan, self._index, self._processes, self._deliver = plan, index, processes, deliver
        self._start = time.perf_counter() + start_at - time.time()
        self._pool = Pool(plan.connections)
        self._client = _client(plan)
        self._rows: list[Row] = []

    def run(self) -> None:
        """Send all of it, and wait for what is still out."""
        traffic = self._plan.traffic
        for number, due in shared(self._plan.times(), self._index, self._processes):
            request = traffic.request(number)  # before it is due
            gevent.sleep(max(self._start + due - time.perf_counter() - EARLY_SECONDS, 0.0))
            self._pool.spawn(self._ask, request, due)
        self._pool.join()
        self._flush()
        self._client.close()

    def _ask(self, request: Request, due: float) -> None:
        planned = True
        for step in perform(request, self._post):
            began = step.reply.began - self._start
            ended = step.reply.ended - self._start
            due = min(due, began) if planned else began
            verdict = step.verdict
            label = [step.route, verdict.pipeline, verdict.variant, verdict.outcome, list(verdict.reasons)]
            late_ms = (began - due) * 1e3 if planned else nan
            self._rows.append((due, late_ms, (ended - due) * 1e3, verdict.server_ms, label))
            planned = False
        if len(self._rows) >= ROWS:
            self._flush()

    def _post(self, path: str, body: bytes) -> Reply:
        began = time.perf_counter()
        status, answer = 0, b""
        try:
            with gevent.Timeout(self._plan.timeout_seconds):
                response = self._client.request("POST", path, body=body)
                status, answer = response.status_code, bytes(response.read())
        except (OSError, HTTPParseError, gevent.Timeout):
            status = 0
        return Reply(status, answer, began, time.perf_counter())

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._deliver(rows)


def _client(plan: Plan) -> HTTPClient:
    """Connections that are kept, the one that was used last first; a bearer key from the environment."""
    parts = urlsplit(plan.host)
    return HTTPClient(
        parts.hostname or "",
        parts.port or (443 if parts.scheme == "https" else 80),
        headers={"Content-Type": "application/json", **bearer()},
        block_size=BLOCK_BYTES,
        concurrency=plan.connections,
        connection_timeout=plan.timeout_seconds,
        network_timeout=plan.timeout_seconds,
        ssl=parts.scheme == "https",
    )
