"""``POST /recommend/batch``: each request's own outcome, one round trip for all, bounded calls."""

import http.client
import json
import threading
from typing import Any

import pytest
from redis import Redis
from support.bundles import Bundle
from support.gateway import RunningGateway, running_gateway
from support.http import Reply, request
from support.processes import wait_until
from support.stub_worker import StubProcess

IN_FLIGHT = "localrec_requests_in_flight"


def post_batch(gateway: RunningGateway, body: Any) -> Reply:
    return request(gateway.port, "POST", "/recommend/batch", body)


def batch_of(gateway: RunningGateway, *requests: Any) -> list[Any]:
    reply = post_batch(gateway, {"requests": requests})
    assert reply.status == 200, reply.body
    responses: list[Any] = reply.json["responses"]
    return responses


def test_answers_are_those_of_single_requests_in_their_order(gateway: RunningGateway):
    users = [{"user_id": f"u{row}", "n": 1 + row % 5, "explain": row % 2 == 0} for row in range(40)]
    responses = batch_of(gateway, *users)
    singles = [gateway.recommend(**user) for user in users]
    differ = {"request_id", "timings_ms", "explanation"}
    assert [{k: v for k, v in r.items() if k not in differ} for r in responses] == [
        {k: v for k, v in s.items() if k not in differ} for s in singles
    ]
    assert len({r["request_id"] for r in responses}) == 40
    assert all(r["timings_ms"]["total"] > 0 for r in responses)


def test_what_is_wrong_with_one_is_that_ones_error(gateway: RunningGateway):
    bad = [{"user_id": "u1", "n": 0}, {"n": 3}, "u2", {"user_id": 7}, {"user_id": "u3", "surprise": 1}]
    bad.append({"user_id": "x" * 257})
    first, *middle, last = batch_of(gateway, {"user_id": "u0"}, *bad, {"user_id": "u4"})
    assert (first["user_id"], last["user_id"]) == ("u0", "u4")
    assert [outcome["user_id"] for outcome in middle] == ["u1", None, None, None, "u3", None]
    assert [outcome["error"]["field"] for outcome in middle] == ["n", "user_id", None, "user_id", "surprise", "user_id"]
    assert {outcome["error"]["code"] for outcome in middle} == {"invalid_request"}


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 422, "invalid_json", None),
        (b'{"requests": [', 422, "invalid_json", None),
        (b"[" * 10_000, 422, "invalid_json", None),
        (b'{"requests": ' + b"[" * 100_000, 422, "invalid_json", None),
        ({"requests": []}, 422, "invalid_request", "requests"),
        ({"requests": [{"user_id": "u"}] * 101}, 422, "invalid_request", "requests"),
        ({"requests": {"user_id": "u"}}, 422, "invalid_request", "requests"),
        ({"request": []}, 422, "invalid_request", None),
        (b'{"requests": ["' + b"u" * 2**20 + b'"]}', 413, "body_too_large", None),
    ],
    ids=["empty", "cut", "deep", "deep within", "none", "too many", "no list", "no such field", "too large"],
)
def test_what_is_no_batch_is_refused_whole(gateway: RunningGateway, body: Any, status: int, code: str, field: str):
    reply = post_batch(gateway, body)
    assert (reply.status, reply.json["error"]["code"], reply.json["error"]["field"]) == (status, code, field)
    assert request(gateway.port, "GET", "/recommend/batch").status == 405


def test_one_round_trip_brings_all_users(gateway: RunningGateway, redis_url: str):
    with Redis.from_url(redis_url) as redis:
        redis.config_resetstat()
        batch_of(gateway, *[{"user_id": f"u{row}"} for row in range(50)])
        assert redis.info("commandstats")["cmdstat_mget"]["calls"] == 1


def test_calls_are_bounded_and_equal_requests_share_them(published: Bundle, stub: StubProcess, configure):
    settings = configure(
        stub.url,
        batch={"parallel": 2},
        cache={"ttl_ms": 1_000},
        pools=[{"name": "local", "urls": [stub.url], "kind": "engine", "probe_interval_ms": 50}],
    )
    with running_gateway(settings) as gateway:
        gateway.wait_ready()
        stub.order(delay_seconds=0.1)
        asked = stub.counts()["fanouts"]
        same = [{"user_id": "u0"}] * 30
        bodies = batch_of(gateway, *same)
        assert stub.counts()["fanouts"] == asked + 1
        assert len({json.dumps(body["items"]) for body in bodies}) == 1
        assert gateway.metric('localrec_cache_total{outcome="coalesced"') == 29
        batch_of(gateway, *[{"user_id": f"u{row}"} for row in range(1, 7)])
        took = gateway.metric('localrec_request_seconds_sum{outcome="ok",pipeline="",route="/recommend/batch"')
        assert took > 0.1 + 3 * 0.1  # two at a time


def test_batch_is_turned_away_before_people_are(published: Bundle, stub: StubProcess, configure):
    settings = configure(stub.url, limits={"min": 4, "max": 4, "batch_share": 0.5}, batch={"parallel": 2})
    with running_gateway(settings) as gateway:
        gateway.wait_ready()
        stub.order(delay_seconds=0.6)
        done: list[Any] = []
        slow = threading.Thread(target=lambda: done.append(batch_of(gateway, *[{"user_id": "u0"}] * 2)))
        slow.start()
        wait_until(lambda: gateway.metric(IN_FLIGHT) == 2)
        refused = post_batch(gateway, b"not even read")
        accepted = gateway.post({"user_id": "u1", "deadline_ms": 100})
        slow.join()
        assert gateway.metric('localrec_shed_total{class="batch"') == 1
        assert gateway.metric('localrec_shed_total{class="interactive"') == 0
    assert (refused.status, refused.json["error"]["code"], refused.headers["retry-after"]) == (503, "overloaded", "1")
    assert accepted.status == 200
    assert [body["degraded"] for body in done[0]] == [False, False]


def test_client_that_leaves_takes_its_batch_with_it(gateway: RunningGateway, stub: StubProcess):
    stub.order(delay_seconds=1.0)
    asked, cancelled = (stub.counts()[name] for name in ("completions", "cancelled"))
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    connection.request("POST", "/recommend/batch", json.dumps({"requests": [{"user_id": "u0"}] * 3}))
    wait_until(lambda: stub.counts()["completions"] > asked)
    assert gateway.metric(IN_FLIGHT) == 3
    connection.close()
    wait_until(lambda: gateway.metric(IN_FLIGHT) == 0, 0.5)
    wait_until(lambda: stub.counts()["cancelled"] > cancelled)


def test_one_deadline_for_all_longer_than_that_of_one(published: Bundle, stub: StubProcess, configure):
    with running_gateway(configure(stub.url, default_deadline_ms=200)) as gateway:
        gateway.wait_ready()
        stub.order(delay_seconds=0.4)
        patient, hasty = batch_of(gateway, {"user_id": "u0"}, {"user_id": "u0", "deadline_ms": 100})
    assert not patient["degraded"]
    assert hasty["degraded"]
    assert hasty["timings_ms"]["total"] < 300
