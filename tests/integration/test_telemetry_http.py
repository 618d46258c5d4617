"""Every request counts, by a bounded route and its outcome; its id goes all the way."""

import json
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from redis import Redis
from support.gateway import RunningGateway, at_work, running_gateway
from support.http import request
from support.processes import free_port, wait_until
from support.stub_worker import StubProcess

from models.contract.bundle import Bundle
from service.gateway.logs.records import JsonFormatter
from service.gateway.security.keys import digest_of

Configure = Callable[..., Any]
ID = "X-Request-Id"


def outcomes(gateway: RunningGateway) -> dict[tuple[str, str], float]:
    """Requests by route and outcome."""
    families = {family.name: family for family in parse_text(gateway.get("/metrics").body.decode())}
    found: dict[tuple[str, str], float] = {}
    for sample in families["localrec_request_seconds"].samples:
        if sample.name.endswith("_count"):
            key = sample.labels["route"], sample.labels["outcome"]
            found[key] = found.get(key, 0) + sample.value
    return found


def raw(port: int, head: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head)
        return connection.recv(65_536)


def test_requests_that_never_reach_a_route_count_too(gateway: RunningGateway):
    gateway.recommend("u0")
    assert gateway.get("/nowhere/at/all").status == 404
    assert request(gateway.port, "PUT", "/recommend", b"").status == 405
    assert gateway.get("/items/a%00/similar").status == 422
    assert gateway.get(f"/{'x' * 5_000}").status == 414
    assert b" 400 " in raw(gateway.port, b"no HTTP at all\r\n\r\n")
    assert b" 431 " in raw(gateway.port, b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n")
    assert gateway.post(b"{").status == 422
    assert gateway.get("/healthz").status == 200
    assert outcomes(gateway) == {
        ("/recommend", "ok"): 1,
        ("/recommend", "invalid_json"): 1,
        ("/recommend", "method_not_allowed"): 1,
        ("/items/{item_id}/similar", "invalid_request"): 1,
        ("other", "not_found"): 1,
        ("other", "uri_too_long"): 1,
        ("other", "bad_http"): 1,
        ("other", "header_too_large"): 1,
    }


def test_who_is_turned_away_or_refused_counts_by_route(
    published: Bundle, stub: StubProcess, configure: Configure, tmp_path: Path
):
    keys = tmp_path / "keys.toml"
    digest = digest_of(b"key").hex()
    keys.write_text(f'[[keys]]\nname = "k"\nsha256 = "{digest}"\nscopes = ["recommend"]\n')
    settings = configure(stub.url, limits={"min": 1, "max": 1}, security={"keys_file": keys})
    with running_gateway(settings) as gateway:
        gateway.wait_ready()
        assert gateway.get("/users/u0").status == 401
        assert request(gateway.port, "GET", "/users/u0", headers={"X-API-Key": "key"}).status == 403
        stub.order(delay_seconds=0.5)
        alone = RunningGateway(gateway.port)
        alone.recommend = lambda: request(
            gateway.port, "POST", "/recommend", {"user_id": "u0"}, headers={"X-API-Key": "key"}
        )
        with at_work(alone):
            shed = request(gateway.port, "POST", "/recommend", b"", headers={"X-API-Key": "key", ID: "mine"})
        assert (shed.status, shed.json["request_id"], shed.headers["x-request-id"]) == (503, "mine", "mine")
        assert outcomes(gateway) == {
            ("/users", "unauthorized"): 1,
            ("/users", "forbidden"): 1,
            ("/recommend", "overloaded"): 1,
            ("/recommend", "ok"): 1,
        }


def test_a_page_that_is_refused_at_the_operators_port_is_counted(
    published: Bundle, stub: StubProcess, configure: Configure
):
    port = free_port()
    with running_gateway(configure(stub.url, admin={"port": port})) as gateway:
        wait_until(lambda: gateway.get("/readyz").status == 200)
        for where in (port, gateway.port):
            path = "/admin/workers" if where == port else "/users/u0"
            assert request(where, "GET", path, headers={"Origin": "http://evil.example"}).status == 403
        assert gateway.metric('localrec_access_total{key="",outcome="forbidden"}') == 2
        assert outcomes(gateway) == {("/users", "forbidden"): 1}  # operators' requests are none of the service's


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a-1.B_2", True), ("x" * 64, True), ("x" * 65, False), ("with space", False), ('quo"te', False), ("", False)],
)
def test_an_id_is_the_callers_where_it_can_be(gateway: RunningGateway, given: str, kept: bool):
    for path, method, body in (("/recommend", "POST", {"user_id": "u0"}), ("/nowhere", "GET", None)):
        reply = request(gateway.port, method, path, body, headers={ID: given})
        assert reply.headers["x-request-id"] == reply.json["request_id"]
        assert (reply.json["request_id"] == given) is kept
        assert kept or re.fullmatch("[0-9a-f]{16}", reply.json["request_id"])


@pytest.fixture
def log(gateway: RunningGateway) -> Iterator[list[dict[str, Any]]]:
    """Lines of requests, as JSON. The gateway runs in this process."""
    lines: list[dict[str, Any]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(self.format(record)))

    handler, logger = Handler(), logging.getLogger("service.gateway.requests")
    handler.setFormatter(JsonFormatter())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_a_degraded_answer_has_a_line_with_all_of_its_story(
    gateway: RunningGateway, stub: StubProcess, log: list[dict[str, Any]], redis_url: str
):
    stub.order(mode="busy")
    reply = request(gateway.port, "POST", "/recommend", {"user_id": "u0", "n": 5}, headers={ID: "story"})
    assert reply.json["degraded"]
    wait_until(lambda: bool(log))
    (line,) = log
    assert (line["request_id"], line["level"], line["outcome"], line["status"]) == ("story", "warning", "degraded", 200)
    assert (line["pipeline"], line["bundle"], line["n"]) == ("local", reply.json["model_version"], 5)
    assert {"state", "plan", "fan_out", "fill"} <= set(line["timings_ms"])
    assert line["reasons"] == reply.json["reasons"]
    assert "u0" not in json.dumps(line)


def test_redis_is_seen_by_the_gateway(gateway: RunningGateway, redis_url: str):
    gateway.recommend("u0")
    with Redis.from_url(redis_url) as redis:
        limit = redis.info("memory")["total_system_memory"]
    wait_until(lambda: gateway.metric("localrec_redis_memory_limit_bytes") == limit)
    assert gateway.metric("localrec_redis_up") == 1
    assert gateway.metric("localrec_ready") == 1
    assert gateway.metric('localrec_redis_seconds_count{command="state",outcome="ok"}') >= 1
    assert gateway.metric('localrec_redis_seconds_count{command="bundle",outcome="ok"}') >= 1


@pytest.mark.parametrize(("deadline_ms", "late"), [(1_000, 0), (1, 1)])
def test_a_body_that_comes_slowly_makes_no_answer_late(gateway: RunningGateway, deadline_ms: int, late: int):
    """The deadline begins with the whole request: how quickly callers send is no matter of the service's objective."""
    body = json.dumps({"user_id": "u0", "deadline_ms": deadline_ms}).encode()
    head = b"POST /recommend HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as connection:
        connection.sendall(head)
        time.sleep(1.2)
        connection.sendall(body)
        assert b" 200 " in connection.recv(65_536)
    assert gateway.metric("localrec_requests_late_total") == late
