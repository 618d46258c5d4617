"""Trying a request: the very list that it would get, what it is made of, what an override changes, and no trace."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from support.bundles import make_bundle, users_of
from support.gateway import running_gateway
from support.http import Reply
from support.operators import Operators
from support.processes import free_port, wait_until
from support.served_parts import PARTS, listed
from support.stub_worker import StubProcess

from models import pointer
from models.contract.bundle import Bundle
from models.contract.fusion import FusionMethod, fuse
from models.contract.redis_schema import EVENTS, EXPOSURES
from models.contract.types import RankedList, item_numbers

SETTLE_SECONDS = 0.3  # ten times what exposures are kept for before they are written


@pytest.fixture
def operators(published: Bundle, stub: StubProcess, configure: Callable[..., Any]) -> Iterator[Operators]:
    port = free_port()
    pipelines = {
        "local": {"kind": "local", "pool": "local"},
        "mixed": {"kind": "local", "pool": "local", "fusion": {"voters": {"cf": 0.5, "global": 2.0}}},
        "cf": {"kind": "cf"},
        "popular": {"kind": "popular"},
    }
    with running_gateway(configure(stub.url, admin={"port": port}, pipelines=pipelines)) as gateway:
        gateway.wait_ready()
        yield Operators(gateway, port)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as redis:
        yield redis


def tried(operators: Operators, user_id: str = "u3", pipeline: str | None = None, **rest: Any) -> Any:
    reply = attempt(operators, user_id, pipeline, **rest)
    assert reply.status == 200, reply.body
    return reply.json


def attempt(operators: Operators, user_id: str = "u3", pipeline: str | None = None, **rest: Any) -> Reply:
    body = {key: rest.pop(key) for key in ("overrides", "bundle") if key in rest}
    return operators.post("/admin/try", body | {"request": {"user_id": user_id, **rest}, "pipeline": pipeline})


def ids(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["item_id"] for entry in entries]


@pytest.mark.parametrize("user_id", ["u0", "u3", "u17", "nobody"])
def test_list_is_that_of_a_request(operators: Operators, user_id: str) -> None:
    answer = tried(operators, user_id, n=20)["answer"]
    asked = operators.gateway.recommend(user_id, n=20, explain=True)
    for body in (answer, asked):
        del body["request_id"], body["timings_ms"]
        for stage in body["explanation"]["stages"]:
            del stage["ms"]
    assert answer == asked


def test_options_of_a_request_count(operators: Operators) -> None:
    options = {"n": 5, "history": ["i1", "i2"], "exclude_items": ["i3"], "filters": {"year": {"min": 2000}}}
    asked = operators.gateway.recommend("u3", explain=True, **options)
    assert tried(operators, **options)["answer"]["items"] == asked["items"]


def test_lists_are_what_was_fused(operators: Operators, published: Bundle) -> None:
    body = tried(operators, pipeline="mixed", n=10)
    settings, lists = body["settings"], body["lists"]
    assert settings["fusion"] == {"method": "rrf", "k": 10.0, "candidates": 100, "voters": {"cf": 0.5, "global": 2.0}}
    members = [each for each in lists if each["community"] is not None]
    assert [each["voter"] for each in lists if each["community"] is None] == ["global", "cf"]
    assert [each["voter"] for each in members] == [f"c0{each['community']}" for each in members]
    assert [each["name"] for each in members] == [f"community {each['community']}" for each in members]
    assert [each["affinity"] for each in members] == sorted((each["affinity"] for each in members), reverse=True)
    weights = {each["voter"]: each["weight"] for each in lists}
    assert (weights["cf"], weights["global"]) == (0.5 * len(members), 2.0 * len(members))
    assert all(each["weight"] == 1.0 for each in members)
    for item in body["answer"]["items"]:
        for vote in item["explanation"]:
            (voter,) = (each for each in lists if each["name"] == vote["name"])
            if vote["rank"] <= 50:
                assert voter["items"][vote["rank"] - 1] == {
                    "item_id": item["item_id"],
                    "title": item["title"],
                    "rank": vote["rank"],
                }
    assert all(len(each["items"]) == 50 for each in lists)


def test_override_of_k_moves_the_list_as_the_fusion_says(operators: Operators) -> None:
    by_k = {k: tried(operators, n=10, overrides={"fusion": {"k": k, "candidates": 50}}) for k in (0, 500)}
    assert ids(by_k[0]["answer"]["items"]) != ids(by_k[500]["answer"]["items"])
    for k, body in by_k.items():
        assert (body["settings"]["fusion"]["k"], body["settings"]["fusion"]["candidates"]) == (k, 50)
        lists = [item_numbers([int(item_id[1:]) for item_id in ids(each["items"])]) for each in body["lists"]]
        rankings = [RankedList(items, -items.astype("float32")) for items in lists]
        fused = fuse(rankings, [each["weight"] for each in body["lists"]], FusionMethod.RRF, k)
        assert listed(body["answer"], "local") == fused.items[:10].tolist()


def test_override_of_the_method_changes_weights(operators: Operators) -> None:
    body = tried(operators, overrides={"fusion": {"method": "wrrf_cf"}})
    assert [each["weight"] for each in body["lists"]] == pytest.approx(
        [each["affinity"] for each in body["lists"]], abs=1e-3
    )


def test_override_of_voters_replaces_those_of_the_pipeline(operators: Operators) -> None:
    without = tried(operators, pipeline="mixed", overrides={"fusion": {"voters": {}}})
    assert all(each["community"] is not None for each in without["lists"])
    assert without["answer"]["items"] == tried(operators, pipeline="local")["answer"]["items"]


def test_fewer_communities_are_the_nearest(operators: Operators) -> None:
    everyone = tried(operators)["lists"]
    assert len(everyone) > 1
    body = tried(operators, overrides={"max_communities": 1})
    assert body["lists"] == everyone[:1]
    assert body["settings"]["max_communities"] == 1
    assert ids(body["answer"]["items"]) == ids(everyone[0]["items"])[:10]


def test_pipelines_without_workers_give_their_one_list(operators: Operators) -> None:
    for pipeline in ("cf", "popular"):
        body = tried(operators, pipeline=pipeline, n=7)
        (only,) = body["lists"]
        assert (only["voter"], only["name"], only["community"], only["weight"]) == (pipeline, pipeline, None, 1.0)
        assert ids(only["items"]) == ids(body["answer"]["items"])
        assert [item["rank"] for item in only["items"]] == list(range(1, 8))
        assert body["settings"] == {"pipeline": pipeline, "kind": pipeline, "max_communities": None, "fusion": None}


def test_history_and_seen_are_the_users(operators: Operators, published: Bundle) -> None:
    history = [f"i{number}" for number in users_of(published).histories[3].tolist()]
    body = tried(operators, pipeline="cf")
    assert (ids(body["history"]), ids(body["seen"])) == (history, history)
    assert body["history"][0]["title"] == f"Item {history[0][1:]}"
    sent = tried(operators, pipeline="cf", history=["i1", "unheard-of"])
    assert sent["history"] == [{"item_id": "i1", "title": "Item 1"}, {"item_id": "unheard-of", "title": None}]
    assert ids(sent["seen"]) == history
    assert tried(operators, "nobody")["seen"] == []


def test_failed_voter_is_told_and_not_listed(operators: Operators, stub: StubProcess) -> None:
    name = tried(operators)["lists"][0]["voter"]
    stub.order(delays={name: 5.0})
    try:
        body = tried(operators, deadline_ms=400)
    finally:
        stub.order()
    assert name not in [each["voter"] for each in body["lists"]]
    (fan_out,) = (stage for stage in body["answer"]["explanation"]["stages"] if stage["name"] == "fan_out")
    assert [failed["adapter"] for failed in fan_out["failed"]] == [name]
    assert body["answer"]["degraded"]


def test_where_all_voters_failed_the_fallback_is_listed(operators: Operators, stub: StubProcess) -> None:
    stub.order(mode="broken")
    try:
        body = tried(operators)
    finally:
        stub.order()
    assert [each["voter"] for each in body["lists"]] == ["cf"]
    assert ids(body["lists"][0]["items"]) == ids(body["answer"]["items"])


def test_trying_leaves_no_trace(operators: Operators, redis: Redis) -> None:
    gateway = operators.gateway
    gateway.recommend("u1")
    wait_until(lambda: redis.xlen(EXPOSURES) == 1)
    watched = ("localrec_request", "localrec_stage", "localrec_exposures", "localrec_assign", "localrec_cache")
    before = [gateway.metric(name) for name in watched]
    for _ in range(3):
        tried(operators)
        attempt(operators, pipeline="nothing")
    time.sleep(SETTLE_SECONDS)
    assert [gateway.metric(name) for name in watched] == before
    assert (redis.xlen(EXPOSURES), redis.exists(EVENTS)) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"pipeline": "nothing"}, 404, "not_found", "pipeline"),
        ({"bundle": "nothing"}, 404, "not_found", "bundle"),
        ({"bundle": "../x"}, 422, "invalid_request", "bundle"),
        ({"request": {}}, 422, "invalid_request", "request.user_id"),
        ({"request": {"user_id": "u0", "n": 101}}, 422, "invalid_request", "request.n"),
        ({"request": {"user_id": "u0", "deadline_ms": 10_001}}, 422, "invalid_request", "request.deadline_ms"),
        ({"request": {"user_id": "u0", "max_per": {"x": 1}}}, 422, "invalid_request", "max_per.x"),
        ({"overrides": {"max_communities": 0}}, 422, "invalid_request", "overrides.max_communities"),
        ({"overrides": {"fusion": {"k": -1}}}, 422, "invalid_request", "overrides.fusion.k"),
        ({"overrides": {"fusion": {"method": "mean"}}}, 422, "invalid_request", "overrides.fusion.method"),
        ({"overrides": {"fusion": {"candidates": 1_001}}}, 422, "invalid_request", "overrides.fusion.candidates"),
        ({"overrides": {"fusion": {"voters": {"me": 1}}}}, 422, "invalid_request", "overrides.fusion.voters.me.[key]"),
        ({"overrides": {"depth": 1}}, 422, "invalid_request", "overrides.depth"),
        ({"pipeline": "cf", "overrides": {"fusion": {"k": 1}}}, 422, "invalid_request", "overrides.fusion"),
        ({"pipeline": "cf", "overrides": {"max_communities": 1}}, 422, "invalid_request", "overrides.max_communities"),
        ({"more": 1}, 422, "invalid_request", "more"),
    ],
)
def test_what_is_wrong_is_named(
    operators: Operators, changes: dict[str, Any], status: int, code: str, field: str
) -> None:
    reply = operators.post("/admin/try", {"request": {"user_id": "u0"}} | changes)
    assert (reply.status, reply.json["error"]["code"], reply.json["error"]["field"]) == (status, code, field)


def test_no_json(operators: Operators) -> None:
    assert operators.post("/admin/try", b"{").json["error"]["code"] == "invalid_json"
    assert operators.post("/admin/try", b" " * 70_000).status == 413


def test_bundle_before_can_be_tried(operators: Operators, published: Bundle, redis: Redis) -> None:
    other = make_bundle(published.directory.parent, seed=9)
    pointer.mark_published(other.id, redis)
    assert attempt(operators, bundle=other.id).status == 404
    assert operators.post(f"/admin/bundles/{other.id}/activate").status == 200
    wait_until(lambda: operators.gateway.recommend("u0")["model_version"] == other.id)
    assert tried(operators)["answer"]["model_version"] == other.id
    assert tried(operators, bundle=published.id, pipeline="cf")["answer"]["model_version"] == published.id


@pytest.mark.parametrize("part", PARTS)
def test_model_that_answers_alone_gives_its_list(serve: Any, part: str) -> None:
    port = free_port()
    with serve(part, admin={"port": port}) as gateway:
        body = tried(Operators(gateway, port), "u1", n=10)
        (only,) = body["lists"]
        assert (only["voter"], only["name"], only["community"], only["weight"]) == (part, part, None, 1.0)
        served = [item["item_id"] for item in body["answer"]["items"] if item["source"] == part]
        assert served
        assert ids(only["items"])[: len(served)] == served
        assert body["settings"]["kind"] == part
        assert gateway.recommend("u1", n=10)["items"][0]["item_id"] == served[0]
