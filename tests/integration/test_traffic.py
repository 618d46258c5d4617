"""Under load: what is turned away, what is shared, what is kept, and what is saved."""

import json
import threading
import time
from typing import Any

import pytest
from redis import Redis
from support.bundles import Bundle
from support.gateway import RunningGateway, at_work, running_gateway
from support.processes import wait_until
from support.stub_worker import StubProcess

from models.contract.records import decode_exposures
from models.contract.redis_schema import EXPOSURES, encode_events, history_key
from models.contract.types import HistoryEvent, ItemId

CACHE = {"ttl_ms": 60_000, "stale_ms": 0}


def cached(gateway: RunningGateway, outcome: str) -> float:
    return gateway.metric(f'localrec_cache_total{{outcome="{outcome}"')


def in_parallel(gateway: RunningGateway, *requests: dict[str, Any]) -> list[Any]:
    """The answers, in any order."""
    bodies: list[Any] = []
    threads = [threading.Thread(target=lambda r=r: bodies.append(gateway.recommend(**r))) for r in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return bodies


@pytest.fixture
def caching(published: Bundle, stub: StubProcess, configure) -> Any:
    with running_gateway(configure(stub.url, cache=CACHE)) as running:
        running.wait_ready()
        yield running


def test_who_is_turned_away_is_not_read(published: Bundle, stub: StubProcess, configure):
    with running_gateway(configure(stub.url, limits={"min": 1, "max": 1})) as gateway:
        gateway.wait_ready()
        stub.order(delay_seconds=0.5)
        with at_work(gateway):
            reply = gateway.post(b"x" * 70_000)
        assert gateway.metric('localrec_shed_total{class="interactive"') == 1
        assert gateway.post(b"x" * 70_000).status == 413
        assert gateway.metric("localrec_concurrency_limit ") == 1
        assert 0 <= gateway.metric("localrec_event_loop_lag_seconds ") < 1
    assert (reply.status, reply.json["error"]["code"]) == (503, "overloaded")
    assert len(reply.json["request_id"]) == 16


def test_equal_request_is_answered_from_the_cache(caching: RunningGateway, stub: StubProcess, redis_url: str):
    first = caching.recommend("u0", explain=True)
    asked = stub.counts()["completions"]
    second = caching.recommend("u0", explain=True, context={"page": "home"}, deadline_ms=500)
    assert stub.counts()["completions"] == asked
    assert "cache" in second["timings_ms"]
    assert "cache" not in first["timings_ms"]
    differ = ("request_id", "timings_ms")
    assert {k: v for k, v in first.items() if k not in differ} == {k: v for k, v in second.items() if k not in differ}
    assert first["request_id"] != second["request_id"]
    assert (cached(caching, "miss"), cached(caching, "hit")) == (1, 1)
    wait_until(lambda: caching.metric('localrec_exposures_total{outcome="written"') == 2)
    with Redis.from_url(redis_url) as redis:
        shown = [shown for _, entry in redis.xrange(EXPOSURES) for shown in decode_exposures(entry)]
    logged = {entry.request_id: (entry.cached, entry.context) for entry in shown}
    assert logged[first["request_id"]] == (False, {})
    assert logged[second["request_id"]] == (True, {"page": "home"})


@pytest.mark.parametrize(
    "other",
    [
        {"n": 5},
        {"exclude_items": ["i1"]},
        {"history": ["i1"]},
        {"exclude_seen": False},
        {"explain": True},
        {"use_cache": False},
        {"user_id": "u1"},
    ],
    ids=str,
)
def test_other_requests_are_not(caching: RunningGateway, other: dict[str, Any]):
    request = {"user_id": "u0"} | other
    expected = caching.recommend(**request | {"use_cache": False})
    caching.recommend("u0")
    body = caching.recommend(**request)
    assert cached(caching, "hit") == 0
    assert body["items"] == expected["items"]


def test_own_events_change_what_is_served(caching: RunningGateway, redis_url: str):
    before = caching.recommend("u0")
    best = before["items"][0]["item_id"]
    with Redis.from_url(redis_url) as redis:
        redis.append(history_key("u0"), encode_events([HistoryEvent(ItemId(best), 1)]))
    after = caching.recommend("u0")
    assert best not in [item["item_id"] for item in after["items"]]
    assert cached(caching, "hit") == 0


def test_degraded_answers_are_not_kept(caching: RunningGateway, stub: StubProcess):
    stub.order(mode="busy")
    assert caching.recommend("u0")["degraded"]
    stub.order()
    wait_until(lambda: not caching.recommend("u0")["degraded"])
    assert cached(caching, "hit") == 0


def test_stale_answer_is_served_at_once_and_made_anew(published: Bundle, stub: StubProcess, configure):
    with running_gateway(configure(stub.url, cache={"ttl_ms": 100, "stale_ms": 60_000})) as gateway:
        gateway.wait_ready()
        gateway.recommend("u0")
        time.sleep(0.15)
        stub.order(delay_seconds=0.3)
        started = time.perf_counter()
        gateway.recommend("u0")
        assert time.perf_counter() - started < 0.2
        assert cached(gateway, "stale") == 1
        stub.order()
        asked = stub.counts()["finished"]
        wait_until(lambda: stub.counts()["finished"] > asked)


def test_equal_requests_at_one_time_are_one_computation(caching: RunningGateway, stub: StubProcess):
    members = len(caching.recommend("u0", explain=True)["items"][0]["explanation"])
    stub.order(delay_seconds=0.3)
    asked = stub.counts()["completions"]
    bodies = in_parallel(caching, *[{"user_id": "u0"}] * 8)
    assert stub.counts()["completions"] - asked >= members
    assert stub.counts()["completions"] - asked <= 4  # communities of the bundle
    assert len({json.dumps(body["items"]) for body in bodies}) == 1
    assert cached(caching, "coalesced") == 7


def test_who_waits_with_others_leaves_at_the_own_deadline(caching: RunningGateway, stub: StubProcess):
    stub.order(delay_seconds=0.6)
    asked = stub.counts()["completions"]
    patient = threading.Thread(target=lambda: caching.recommend("u0"))
    patient.start()
    wait_until(lambda: stub.counts()["completions"] > asked)
    body = caching.recommend("u0", deadline_ms=100)
    assert body["timings_ms"]["total"] < 300
    assert len(body["items"]) == 10
    assert body["reasons"] == ["models_skipped"]
    patient.join()


def test_where_many_are_turned_away_the_fan_out_narrows(published: Bundle, stub: StubProcess, configure):
    with running_gateway(configure(stub.url, limits={"min": 1, "max": 1})) as gateway:
        gateway.wait_ready()
        stub.order(delay_seconds=1.0)
        with at_work(gateway):
            assert {gateway.post({"user_id": "u1"}).status for _ in range(30)} == {503}
        gateway.recommend("u1")
        assert gateway.metric("localrec_quality_factor ") < 1


def test_under_pressure_less_is_done_and_said(published: Bundle, stub: StubProcess, configure):
    settings = configure(stub.url, quality={"percentile": 50, "target": 0.01}, default_deadline_ms=1_000)
    with running_gateway(settings) as gateway:
        gateway.wait_ready()
        row = next(row for row in range(50) if len(_communities(gateway, f"u{row}")) >= 2)
        stub.order(delay_seconds=0.03)
        seen: list[list[str]] = []
        until = time.perf_counter() + 8
        while not any("models_skipped" in reasons for reasons in seen) and time.perf_counter() < until:
            bodies = in_parallel(gateway, *[{"user_id": f"u{row}"}] * 10)
            seen += [body["reasons"] for body in bodies]
        assert gateway.metric("localrec_quality_factor ") < 0.3
        assert gateway.metric('localrec_reasons_total{code="narrowed"') > 0
        assert gateway.metric('localrec_reasons_total{code="fewer_candidates"') > 0
        narrowed = next(i for i, reasons in enumerate(seen) if any(r.startswith("narrowed:1/") for r in reasons))
        skipped = next(i for i, reasons in enumerate(seen) if reasons == ["models_skipped"])
        assert narrowed < skipped
        stub.order()
        wait_until(lambda: gateway.recommend(f"u{row}")["reasons"] != ["models_skipped"])


def _communities(gateway: RunningGateway, user_id: str) -> set[int]:
    items = gateway.recommend(user_id, explain=True, n=100)["items"]
    return {vote["community"] for item in items for vote in item["explanation"]}
