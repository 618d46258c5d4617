"""Filters, candidates, hidden items and similar items over HTTP."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from redis import Redis
from support.bundles import users_of
from support.gateway import RunningGateway, running_gateway
from support.http import Reply
from support.processes import wait_until

from models.contract.bundle import Bundle
from models.contract.redis_schema import HIDDEN_ITEMS, HIDDEN_VERSION
from service.gateway.api.items import SimilarResponse
from service.gateway.bundles.snapshot import load_snapshot
from service.gateway.store.operations import Operations
from service.gateway.store.redis_store import RedisStore


def ids(body: Any) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def operate(redis_url: str, change: Callable[[Operations], Any]) -> None:
    """Do something as an operator's process would."""

    async def act() -> None:
        store = RedisStore(redis_url, 1.0)
        await change(Operations(store))
        await store.close()

    asyncio.run(act())


@pytest.fixture(params=["vllm", "engine"])
def kind(request: pytest.FixtureRequest, published: Bundle, stub, configure) -> Any:
    """A gateway for each kind of workers."""
    pool = {"name": "local", "urls": [stub.url], "kind": request.param, "probe_interval_ms": 50, "cooldown_ms": 50}
    with running_gateway(configure(stub.url, pools=[pool])) as running:
        running.wait_ready()
        yield running


FILTERS: list[dict[str, Any]] = [
    {"brand": ["brand 1", "brand 4"]},
    {"brand": {"none_of": ["brand 1"]}, "categories": {"any_of": ["category 2"], "none_of": ["category 5"]}},
    {"price": {"min": 20, "max": 120.5}},
    {"year": {"min": 2015}, "categories": ["category 0", "category 1", "nothing"]},
]


def passes(item: Any, filters: dict[str, Any]) -> bool:
    attributes = {"brand": [item.brand], "categories": item.categories} | {k: [v] for k, v in item.attributes.items()}
    for name, wanted in filters.items():
        rule = {"any_of": wanted} if isinstance(wanted, list) else wanted
        own = attributes[name]
        numbers = [float(value) for value in own if value and value.replace(".", "").isdigit()]
        if "any_of" in rule and not set(own) & set(rule["any_of"]):
            return False
        if set(own) & set(rule.get("none_of", [])):
            return False
        low, high = rule.get("min", -np.inf), rule.get("max", np.inf)
        if {"min", "max"} & rule.keys() and not any(low <= number <= high for number in numbers):
            return False
    return True


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_every_item_passes_and_none_that_passes_is_missing(kind: RunningGateway, published: Bundle, filters: Any):
    catalogue, users = load_snapshot(published.directory).catalogue, users_of(published)
    passing = {item.item_id for item in catalogue.items if passes(item, filters)}
    for row in (0, 7):
        seen = {f"i{number}" for number in users.histories[row]}
        body = kind.recommend(f"u{row}", n=100, filters=filters)
        assert set(ids(body)) == passing - seen
        assert body["reasons"] == ["few_items_pass"]
        assert not body["degraded"]
        top = kind.recommend(f"u{row}", n=5, filters=filters)
        assert ids(top) == ids(body)[:5]
        assert {item["source"] for item in top["items"]} == {"local"}
        assert top["reasons"] == []


def test_candidates_are_ranked_as_in_the_full_list(kind: RunningGateway):
    full = ids(kind.recommend("u0", n=100))
    local = kind.recommend("u0", n=3, candidates=[*full[:40:4], "no-such-item"])
    assert set(ids(local)) <= set(full[:40:4])
    assert local["reasons"] == ["unknown_candidate:no-such-item"]
    assert {item["source"] for item in local["items"]} == {"local"}
    assert kind.recommend("u0", candidates=["no", "none"])["items"] == []


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"colour": ["red"]}, "filters.colour"),
        ({"brand": {"min": 1}}, "filters.brand"),
        ({"price": {"max": 5}, "titel": {"none_of": ["x"]}}, "filters.titel"),
    ],
    ids=str,
)
def test_what_the_bundle_cannot_answer_is_422(gateway: RunningGateway, filters: Any, field: str):
    reply = gateway.post({"user_id": "u0", "filters": filters})
    assert (reply.status, reply.json["error"]["code"], reply.json["error"]["field"]) == (422, "invalid_filter", field)
    if "brand" not in filters:
        assert "brand, categories, price, title, year" in reply.json["error"]["message"]


def test_strict_filters_and_others(gateway: RunningGateway):
    strict = gateway.recommend("stranger", n=100, filters={"year": {"min": 2018}})
    assert {item["source"] for item in strict["items"]} == {"popular"}
    known = gateway.recommend("u0", n=50, filters={"year": {"min": 2018}}, strict_filters=False)
    assert "few_items_pass" in known["reasons"]


def test_hidden_items_leave_every_list_at_once_and_come_back(gateway: RunningGateway, redis_url: str):
    asked: dict[str, dict[str, Any]] = {"u0": {}, "stranger": {}, "someone": {"history": ["i1", "i2"]}}
    before = {user_id: ids(gateway.recommend(user_id, **fields)) for user_id, fields in asked.items()}
    neighbours = ids(gateway.get("/items/i5/similar").json)
    hidden = {*before["u0"][:3], before["stranger"][0], before["someone"][0], neighbours[0]}
    operate(redis_url, lambda operations: operations.hide([*hidden, "of no bundle"]))
    wait_until(lambda: not hidden & set(ids(gateway.recommend("u0"))), 5)
    for user_id, fields in asked.items():
        after = ids(gateway.recommend(user_id, n=100, **fields))
        assert len(after) == 100
        assert not hidden & set(after)
    assert not hidden & set(ids(gateway.get("/items/i5/similar?n=100").json))
    assert gateway.metric("localrec_items_hidden ") == len(hidden) + 1
    operate(redis_url, lambda operations: operations.show([*hidden]))
    wait_until(lambda: ids(gateway.recommend("u0")) == before["u0"], 5)
    assert ids(gateway.get("/items/i5/similar").json) == neighbours


def test_hidden_items_stay_hidden_while_redis_is_silent(published: Bundle, stub, configure, redis_url: str):
    with Redis.from_url(redis_url) as redis:
        redis.sadd(HIDDEN_ITEMS, "i0")
        redis.incr(HIDDEN_VERSION)
        with running_gateway(configure(stub.url, redis_timeout_ms=50)) as gateway:
            gateway.wait_ready()
            wait_until(lambda: "i0" not in ids(gateway.recommend("stranger")), 5)
            redis.client_pause(1_500)
            body = gateway.recommend("stranger")
            assert body["reasons"][0].startswith("redis_unavailable")
            assert ids(body)[0] == "i1"
            redis.ping()  # answers when the pause is over


def similar(gateway: RunningGateway, item_id: str, query: str = "") -> Any:
    reply = gateway.get(f"/items/{item_id}/similar{query}")
    assert reply.status == 200, reply.body
    return reply.json


def test_similar_items_are_the_nearest_by_cosine(gateway: RunningGateway, published: Bundle):
    body = similar(gateway, "i5", "?n=7&exclude_items=i1&exclude_items=no-such-item")
    parsed = SimilarResponse.model_validate(body)
    vectors = load_snapshot(published.directory).cf.item_factors
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = directions @ directions[5]
    expected = [number for number in np.argsort(-cosines, kind="stable") if number not in {1, 5}][:7]
    assert ids(body) == [f"i{number}" for number in expected]
    assert [item.rank for item in parsed.items] == list(range(1, 8))
    np.testing.assert_allclose([item.score for item in parsed.items], cosines[expected], atol=1e-5)
    assert (parsed.item_id, parsed.model_version, parsed.items[0].title) == (
        "i5",
        published.id,
        f"Item {expected[0]}",
    )
    assert len(ids(similar(gateway, "i5"))) == 10
    assert (
        gateway.metric('localrec_request_seconds_count{outcome="ok",pipeline="",route="/items/{item_id}/similar"') == 2
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?n=0", "n"),
        ("?n=101", "n"),
        ("?n=ten", "n"),
        ("?n=1.5", "n"),
        ("?n=", "n"),
        ("?m=3", "m"),
        ("?exclude_items=", "exclude_items.0"),
        ("?exclude_items=i1&exclude_items=a%00", "query"),
    ],
    ids=lambda value: value[:30],
)
def test_bad_queries_are_422_and_name_the_field(gateway: RunningGateway, query: str, field: str):
    check(gateway.get(f"/items/i5/similar{query}"), 422, "invalid_request", field)


@pytest.mark.parametrize("item_id", ["nope", "", "a%2Fb", "i5/i6"])
def test_unknown_items_are_404(gateway: RunningGateway, item_id: str):
    check(gateway.get(f"/items/{item_id}/similar"), 404, "unknown_item", "item_id")


def test_nothing_is_similar_before_a_bundle_is_in_service(stub, configure):
    with running_gateway(configure(stub.url)) as gateway:
        check(gateway.get("/items/i5/similar"), 503, "no_bundle", None)


def check(reply: Reply, status: int, code: str, field: str | None) -> None:
    assert reply.status == status, reply.body
    assert (reply.json["error"]["code"], reply.json["error"]["field"]) == (code, field)
    assert len(reply.json["request_id"]) == 16
