"""What is particular to pipelines ulmrec and l2rec over HTTP: new users' indices, few candidates, short histories."""

from typing import Any

import pytest
from support.bundles import publish, users_of
from support.http import request
from support.parts import make_bundle_with
from support.processes import wait_until
from support.served_parts import N_ITEMS, PARTS, PIPELINES, expected, listed
from support.stub_worker import StubProcess

from models.contract.bundle import Bundle

state_of_history = pytest.mark.parametrize("pipeline", ["hatllm", "ulmrec", "l2rec"])


def ids(numbers: list[int]) -> list[str]:
    return [f"i{number}" for number in numbers]


def test_who_was_not_there_at_training_gets_an_index_and_is_told(serve: Any, whole: Bundle):
    history = ids(users_of(whole).histories[3].tolist())
    with serve("ulmrec") as gateway:
        known, unknown = gateway.recommend("u3"), gateway.recommend("u45")
        anonymous = gateway.recommend("u3", history=history)
    assert known["reasons"] == []
    assert unknown["reasons"] == anonymous["reasons"] == ["new_index:user"]
    assert not unknown["degraded"]
    assert listed(unknown, "ulmrec") == expected(whole, "ulmrec", 45)
    assert listed(anonymous, "ulmrec") == expected(whole, "ulmrec", 3, stored=False)


def test_deleted_user_who_comes_back_gets_a_new_index(serve: Any):
    events = [{"user_id": "u3", "item_id": f"i{item}", "type": "click"} for item in (1, 2, 3)]
    with serve("ulmrec") as gateway:
        assert request(gateway.port, "DELETE", "/users/u3").status == 200
        assert gateway.recommend("u3")["reasons"] == ["unknown_user"]
        assert request(gateway.port, "POST", "/events", {"events": events}).status == 200
        body = gateway.recommend("u3")
    assert (body["reasons"], len(listed(body, "ulmrec"))) == (["new_index:user"], 10)


@state_of_history
def test_history_of_one_item_is_one(serve: Any, pipeline: str):
    with serve(pipeline) as gateway:
        one = gateway.recommend("u3", history=["i7"])
        beside = gateway.recommend("u3", history=["gone", "i7"])
    assert len(listed(one, pipeline)) == 10
    assert listed(beside, pipeline) == listed(one, pipeline)
    assert [reason for reason in beside["reasons"] if reason not in one["reasons"]] == ["unknown_item:gone"]


@state_of_history
def test_history_of_unknown_items_alone_is_none(serve: Any, workers: dict[str, StubProcess], pipeline: str):
    with serve(pipeline) as gateway:
        before = workers[pipeline].counts()["finished"]
        body = gateway.recommend("u3", history=["gone"])
        assert workers[pipeline].counts()["finished"] == before
    assert {item["source"] for item in body["items"]} == {"popular"}


@pytest.mark.parametrize("n", [1, 2, 19])
def test_ulmrec_ranks_as_few_candidates_as_a_request_allows(serve: Any, whole: Bundle, n: int):
    history = users_of(whole).histories[3].tolist()
    allowed = [number for number in range(200) if number not in history][:n]
    with serve("ulmrec") as gateway:
        body = gateway.recommend("u3", candidates=ids(allowed), n=30)
    assert sorted(listed(body, "ulmrec")) == allowed
    assert (len(body["items"]), body["degraded"]) == (n, False)


def test_beyond_the_letters_cf_fills_up(serve: Any):
    most = {"ulmrec": PIPELINES["ulmrec"] | {"candidates": 26}}  # of a model with 20 letters
    with serve("ulmrec", pipelines=most) as gateway:
        items = gateway.recommend("u3", n=50)["items"]
    assert [item["source"] for item in items] == ["ulmrec"] * 20 + ["cf"] * 30


@pytest.mark.parametrize("pipeline", ["ulmrec", "l2rec"])
def test_next_bundle_on_the_same_base_model_is_asked_on_the_same_worker(
    serve: Any, whole: Bundle, redis_url: str, pipeline: str
):
    following = make_bundle_with(whole.directory.parent, *PARTS, name=f"after-{pipeline}", n_items=N_ITEMS, seed=3)
    with serve(pipeline) as gateway:
        assert gateway.recommend("u3")["model_version"] == whole.id
        publish(redis_url, following, users_of(following))
        wait_until(lambda: gateway.recommend("u3")["model_version"] == following.id)
        body = gateway.recommend("u3")
    assert listed(body, pipeline) == expected(following, pipeline, 3)
    assert (body["degraded"], body["reasons"]) == (False, [])


@pytest.mark.parametrize("pipeline", ["ulmrec", "l2rec"])
def test_batch_is_answered_like_requests_of_their_own(serve: Any, pipeline: str):
    with serve(pipeline) as gateway:
        alone = [gateway.recommend(user_id)["items"] for user_id in ("u3", "u45")]
        asked = {"requests": [{"user_id": "u3"}, {"user_id": "u45"}, {"user_id": "nobody"}]}
        *together, last = request(gateway.port, "POST", "/recommend/batch", asked).json["responses"]
    assert [body["items"] for body in together] == alone
    assert {item["source"] for item in last["items"]} == {"popular"}
