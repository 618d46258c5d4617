"""Pipelines of one model over HTTP: their lists, what is said of them, what comes where something is missing."""

import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.bundles import activate, make_bundle, publish, users_of
from support.gateway import running_gateway
from support.http import request
from support.parts import make_bundle_with
from support.processes import wait_until
from support.served_parts import N_ITEMS, PARTS, PIPELINES, expected, listed
from support.stub_worker import StubProcess

from models.contract.bundle import Bundle
from models.contract.records import Exposure, decode_exposures
from models.contract.redis_schema import EXPOSURES

EXPERIMENT = """
[[layers]]
name = "l"
[[layers.experiments]]
name = "models"
salt = "s"
variants = [
  {name = "one", weight = 1, pipeline = "cf"},
  {name = "two", weight = 1, pipeline = "collm", parameters = {candidates = 20}},
  {name = "three", weight = 1, pipeline = "hatllm"},
]
"""
CANARY = """
[[layers]]
name = "l"
[[layers.experiments]]
name = "canary"
salt = "s"
variants = [{{name = "new", weight = 1, bundle = "{}"}}]
"""
SHADOW = """
[[shadows]]
name = "beside"
share = 1.0
pipeline = "hatllm"
"""
pipelines = pytest.mark.parametrize("pipeline", PARTS)


@pipelines
def test_list_is_the_models_own_and_explained(serve: Any, whole: Bundle, pipeline: str):
    with serve(pipeline) as gateway:
        body = gateway.recommend("u3", explain=True)
    assert listed(body, pipeline) == expected(whole, pipeline, 3)
    assert (body["pipeline"], body["degraded"]) == (pipeline, False)
    for rank, item in enumerate(body["items"], start=1):
        [vote] = item["explanation"]
        assert (vote["name"], vote["rank"], vote["contribution"]) == (pipeline, rank, pytest.approx(item["score"]))
    stages = {stage["name"]: stage for stage in body["explanation"]["stages"]}
    assert stages["fan_out"]["answered"] == [pipeline]
    assert "fuse" not in stages


def test_deleted_user_who_comes_back_is_read_as_text(serve: Any):
    events = [{"user_id": "u3", "item_id": f"i{item}", "type": "click"} for item in (1, 2, 3)]
    with serve("collm") as gateway:
        assert request(gateway.port, "DELETE", "/users/u3").status == 200
        assert gateway.recommend("u3")["reasons"] == ["unknown_user"]
        assert request(gateway.port, "POST", "/events", {"events": events}).status == 200
        body = gateway.recommend("u3")
    assert (body["reasons"], len(listed(body, "collm"))) == (["text_only:user"], 10)


def test_collm_says_what_is_scored_by_text_alone(serve: Any, whole: Bundle):
    users = users_of(whole)
    history = [f"i{number}" for number in users.histories[3].tolist()]
    with serve("collm") as gateway:
        known, unknown = gateway.recommend("u3"), gateway.recommend("u45")
        anonymous = gateway.recommend("u3", history=history)
    [reason] = known["reasons"]
    assert reason.startswith("text_only:items ")
    assert reason.endswith("/50")
    assert unknown["reasons"] == anonymous["reasons"] == ["text_only:user"]
    assert not unknown["degraded"]
    assert listed(unknown, "collm") == expected(whole, "collm", 45)
    assert listed(anonymous, "collm") == expected(whole, "collm", 3, stored=False)


@pipelines
def test_unknown_user_and_empty_history_get_the_fallbacks(serve: Any, workers: dict[str, StubProcess], pipeline: str):
    with serve(pipeline) as gateway:
        before = workers[pipeline].counts()["finished"]
        for body in (gateway.recommend("nobody"), gateway.recommend("u3", history=[])):
            assert {item["source"] for item in body["items"]} == {"popular"}
            assert (body["degraded"], len(body["items"])) == (False, 10)
        assert workers[pipeline].counts()["finished"] == before


@pipelines
def test_filters_candidates_and_exclusions_hold(serve: Any, whole: Bundle, pipeline: str):
    history = set(users_of(whole).histories[3].tolist())
    others = [number for number in range(N_ITEMS) if number not in history]
    with serve(pipeline) as gateway:
        first = gateway.recommend("u3")
        without = gateway.recommend("u3", exclude_items=[first["items"][0]["item_id"]])
        few = gateway.recommend("u3", candidates=[f"i{number}" for number in others[:5]])
        brand = gateway.recommend("u3", filters={"brand": {"any_of": ["brand 3"]}})
        none = gateway.recommend("u3", candidates=["unheard-of"])
    assert first["items"][0]["item_id"] not in {item["item_id"] for item in without["items"]}
    assert sorted(listed(few, pipeline)) == others[:5]
    assert listed(brand, pipeline)
    assert all(number % 7 == 3 for number in listed(brand, pipeline))
    assert none["items"] == []


@pipelines
def test_more_than_the_candidates_are_filled_up_by_cf(serve: Any, pipeline: str):
    short = {pipeline: PIPELINES[pipeline] | {"candidates": 20}}
    with serve(pipeline, pipelines=short) as gateway:
        items = gateway.recommend("u3", n=100)["items"]
    assert [item["source"] for item in items] == [pipeline] * 20 + ["cf"] * 80
    assert len({item["item_id"] for item in items}) == 100


@pipelines
@pytest.mark.parametrize(
    ("mode", "reason"), [("busy", "worker_refused"), ("garbage", "worker_invalid"), ("broken", "worker_invalid")]
)
def test_worker_that_fails_leaves_cf(
    serve: Any, workers: dict[str, StubProcess], pipeline: str, mode: str, reason: str
):
    with serve(pipeline) as gateway:
        workers[pipeline].order(mode=mode)
        body = gateway.recommend("u3")
        assert {item["source"] for item in body["items"]} == {"cf"}
        assert (body["degraded"], body["reasons"]) == (True, [f"{reason}:{pipeline}"])
        workers[pipeline].order()
        wait_until(lambda: not gateway.recommend("u3")["degraded"])


@pipelines
def test_deadline_ends_a_slow_call(serve: Any, workers: dict[str, StubProcess], pipeline: str):
    with serve(pipeline) as gateway:
        workers[pipeline].order(delay_seconds=3.0)
        started = time.perf_counter()
        body = gateway.recommend("u3", deadline_ms=200)
        assert time.perf_counter() - started < 0.5
        workers[pipeline].order()
    assert body["reasons"][-1] == f"worker_timeout:{pipeline}"
    assert {item["source"] for item in body["items"]} == {"cf"}


@pipelines
def test_worker_that_is_down_leaves_cf(
    configure: Any, whole: Bundle, redis_url: str, workers: dict[str, StubProcess], pipeline: str
):
    publish(redis_url, whole, users_of(whole))
    pools = [{"name": pipeline, "urls": ["http://127.0.0.1:9"], "model": pipeline, "probe_interval_ms": 50}]
    keys = {"bundle_root": whole.directory.parent, "pools": pools, "pipelines": {pipeline: PIPELINES[pipeline]}}
    with running_gateway(configure("", default_pipeline=pipeline, **keys)) as gateway:
        wait_until(lambda: gateway.post({"user_id": "u3"}).status == 200)
        body = gateway.recommend("u3")
    assert body["reasons"][-1] == f"worker_unreachable:{pipeline}"
    assert ({item["source"] for item in body["items"]}, body["degraded"]) == ({"cf"}, True)


@pipelines
def test_adapter_that_is_not_the_one_is_not_used(serve: Any, workers: dict[str, StubProcess], pipeline: str):
    workers[pipeline].order(ignored=[f"-{pipeline}"])
    with serve(pipeline, ready=False) as gateway:
        wait_until(lambda: gateway.post({"user_id": "u3"}).status == 200)
        wait_until(lambda: f"worker_untrusted:{pipeline}" in gateway.recommend("u3")["reasons"])
    workers[pipeline].order()


@pipelines
def test_bundle_that_lacks_the_model_is_refused_and_the_old_one_stays(
    serve: Any, whole: Bundle, redis_url: str, pipeline: str
):
    others = [part for part in PARTS if part != pipeline]
    lacking = make_bundle_with(whole.directory.parent, *others, name="lacks", n_items=N_ITEMS, seed=1)
    with serve(pipeline) as gateway, Redis.from_url(redis_url) as redis:
        activate(redis, lacking.id)
        wait_until(lambda: gateway.metric('localrec_bundle_events_total{outcome="refused"}') == 1)
        [warning] = gateway.get("/readyz").json["warnings"]
        body = gateway.recommend("u3")
    why = f"pipeline {pipeline} needs the model {pipeline}, which the bundle does not have"
    assert why in warning
    assert (body["model_version"], body["degraded"]) == (whole.id, False)
    assert listed(body, pipeline)


def test_bundle_without_parts_is_served_by_those_who_need_none(
    configure: Any, whole: Bundle, redis_url: str, workers: dict[str, StubProcess]
):
    plain = make_bundle(whole.directory.parent, name="plain", n_items=N_ITEMS)
    publish(redis_url, plain, users_of(plain))
    pools = [{"name": "collm", "urls": [workers["collm"].url], "model": "collm", "probe_interval_ms": 50}]
    keys = {"bundle_root": whole.directory.parent, "pools": pools, "pipelines": {"cf": PIPELINES["cf"]}}
    with running_gateway(configure("", default_pipeline="cf", **keys)) as gateway, Redis.from_url(redis_url) as redis:
        wait_until(lambda: gateway.post({"user_id": "u3"}).status == 200)
        assert gateway.recommend("u3")["model_version"] == plain.id
        assert any(f"{plain.id} has no collm model" in each for each in gateway.get("/readyz").json["warnings"])
        activate(redis, whole.id)
        wait_until(lambda: gateway.get("/readyz").json["warnings"] == [])


def test_batch_is_answered_like_requests_of_their_own(serve: Any):
    with serve("collm") as gateway:
        single = gateway.recommend("u3")
        asked = {"requests": [{"user_id": "u3"}, {"user_id": "nobody"}]}
        batch = request(gateway.port, "POST", "/recommend/batch", asked).json["responses"]
    assert batch[0]["items"] == single["items"]
    assert {item["source"] for item in batch[1]["items"]} == {"popular"}


def test_experiment_splits_over_three_models_and_counts_them_apart(serve: Any, tmp_path: Path):
    path = tmp_path / "experiments.toml"
    path.write_text(EXPERIMENT)
    with serve("cf", experiments_file=path) as gateway:
        bodies = [gateway.recommend(f"u{row}", n=40) for row in range(40)]
        counts = {
            variant: gateway.metric(f'localrec_assignments_total{{experiment="models",variant="{variant}"}}')
            for variant in ("one", "two", "three")
        }
    chosen = {"one": "cf", "two": "collm", "three": "hatllm"}
    for body in bodies:
        variant = body["experiments"]["models"]
        n_own = {"cf": 40, "collm": 20, "hatllm": 40}[chosen[variant]]
        assert (body["pipeline"], len(listed(body, chosen[variant]))) == (chosen[variant], n_own)
    assert sum(counts.values()) == 40
    assert min(counts.values()) > 0


def test_canary_that_lacks_a_model_is_refused(serve: Any, whole: Bundle, tmp_path: Path):
    lacking = make_bundle_with(whole.directory.parent, "hatllm", name="canary", n_items=N_ITEMS, seed=2)
    path = tmp_path / "experiments.toml"
    path.write_text(CANARY.format(lacking.id))
    with serve("collm", ready=False, experiments_file=path) as gateway:
        wait_until(lambda: "needs the model collm" in str(gateway.get("/readyz").json["warnings"]))
        wait_until(lambda: gateway.post({"user_id": "u3"}).json.get("degraded") is False)
        body = gateway.recommend("u3")
    assert body["model_version"] == whole.id
    assert f"bundle_not_ready:{lacking.id}" in body["reasons"]
    assert listed(body, "collm")


def test_shadow_asks_hatllm_beside_collm(serve: Any, workers: dict[str, StubProcess], redis_url: str, tmp_path: Path):
    path = tmp_path / "experiments.toml"
    path.write_text(SHADOW)
    with serve("collm", experiments_file=path) as gateway, Redis.from_url(redis_url) as redis:
        gateway.recommend("u3")

        def read() -> list[Exposure]:
            return [shown for _, fields in redis.xrange(EXPOSURES) for shown in decode_exposures(fields)]

        wait_until(lambda: len(read()) == 2)
        by_shadow = {shown.shadow: shown for shown in read()}
    assert (by_shadow[""].sources[0], by_shadow["beside"].sources[0]) == ("collm", "hatllm")
    assert by_shadow[""].voters == ("collm",)
    assert [ranks[0] for ranks in by_shadow[""].ranks] == list(range(1, 11))


@pipelines
def test_equal_requests_are_answered_by_one_call(serve: Any, workers: dict[str, StubProcess], pipeline: str):
    with serve(pipeline, cache={"ttl_ms": 60_000}) as gateway:
        before = workers[pipeline].counts()["finished"]
        first, second = gateway.recommend("u3"), gateway.recommend("u3")
        assert workers[pipeline].counts()["finished"] == before + 1
    assert first["items"] == second["items"]
