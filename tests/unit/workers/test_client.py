"""What a worker's answer is taken for."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec
import numpy as np
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.pools import Stub, worker
from support.processes import free_port

from models.contract.types import item_numbers
from service.request_id import current
from service.wire import FanoutRequest
from service.workers.client import NobodyListensError, WorkerClient, WorkerError, parse_fanout
from service.workers.completion import Completion
from service.workers.types import Outcome, OutcomeKind

ASKED = Completion(prompt=[50, 1], candidates=3, excluded=item_numbers([7]), n_items=50)


def answer(logprobs: Any) -> bytes:
    return json.dumps({"id": "x", "choices": [{"text": "", "logprobs": {"top_logprobs": [logprobs]}}]}).encode()


def test_best_first_ties_by_number():
    ranking = ASKED.read(answer({"token_id:9": -2.0, "token_id:4": -1.0, "token_id:2": -1.0}))
    assert ranking.items.tolist() == [2, 4, 9]
    assert ranking.scores.tolist() == [-1.0, -1.0, -2.0]
    assert ranking.items.dtype == np.int32


def test_drops_what_is_excluded_and_what_is_no_item_then_cuts():
    tokens = {"token_id:7": -0.1, "token_id:50": -0.2, "token_id:99": -0.3} | {f"token_id:{n}": -n for n in range(1, 6)}
    assert ASKED.read(answer(tokens)).items.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"\xff\xfe",
        b'{"choices": []}',
        b'{"choices": [{"logprobs": null}]}',
        b'{"choices": [{"logprobs": {"top_logprobs": []}}]}',
        b'{"choices": [{"logprobs": {"top_logprobs": [null]}}]}',
        answer({}),
        answer({"token_id:1": "high"}),
        answer({"token_id:1": None}),
        answer({"token_id:": -1.0}),
        answer({"token_id:-1": -1.0}),
        answer({"token_id:1.5": -1.0}),
        answer({"token_id:99999999999999999999": -1.0}),
        answer({"token_id:²": -1.0}),
        answer({"i17": -1.0}),
        answer({"token_id:1": -1.0, "token_id:01": -2.0}),
        answer({"token_id:1": -1.0}).replace(b"-1.0", b"NaN"),
        answer({"token_id:1": -1.0}).replace(b"-1.0", b"-1e999"),
        answer({"token_id:1": -1e300}),
    ],
)
def test_anything_else_breaks_the_contract(body: bytes):
    with pytest.raises(ValueError):  # noqa: PT011 - which of the many reasons is for the log
        ASKED.read(body)


NARROW = replace(ASKED, allowed=item_numbers([4, 9]))


def test_what_is_allowed_travels_in_the_place_of_what_is_excluded():
    body = orjson.loads(NARROW.body("b-c01"))
    assert body["allowed_token_ids"] == [4, 9]
    assert "logit_bias" not in body
    request = msgspec.json.decode(NARROW.fanout_body(["b-c01"], 1.0), type=FanoutRequest)
    assert (request.allow, request.exclude) == ([4, 9], [])
    shifted = replace(NARROW, item_offset=100)
    assert orjson.loads(shifted.body("b-c01"))["allowed_token_ids"] == [104, 109]


def test_what_vllm_fills_a_short_list_with_is_dropped():
    tokens = {"token_id:9": -0.2, "token_id:4": -0.1, "token_id:0": -9999.0}
    assert NARROW.read(answer(tokens)).items.tolist() == [4, 9]


def test_body_is_what_stock_vllm_expects():
    assert orjson.loads(ASKED.body("b-c01")) == {
        "model": "b-c01",
        "prompt": [50, 1],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 3,
        "return_tokens_as_token_ids": True,
        "logit_bias": {"7": -100.0, "50": -100.0},
    }


@pytest.mark.parametrize("request_id", ["", "r-1"])
async def test_calls_bear_the_id_of_the_request_that_they_are_made_for(request_id: str):
    heard: list[str | None] = []

    async def completions(request: web.Request) -> web.Response:
        heard.append(request.headers.get("X-Request-Id"))
        return web.Response(body=answer({"token_id:1": -1.0}))

    app = web.Application()
    app.router.add_post(ASKED.path, completions)
    token = current.set(request_id)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        outcome = await WorkerClient(session, str(server.make_url(""))).ask("a", ASKED)
    current.reset(token)
    assert (outcome.kind, heard) == (OutcomeKind.OK, [request_id or None])


def result(model: str, tokens: list[int], logprobs: list[float]) -> dict[str, Any]:
    return {"model": model, "tokens": tokens, "logprobs": logprobs}


def packed(values: list[Any], dtype: str) -> str:
    return base64.b64encode(np.asarray(values, dtype).tobytes()).decode()


def fanout(*results: dict[str, Any]) -> list[Outcome]:
    models = [each["model"] for each in results]
    return parse_fanout(json.dumps({"object": "fanout", "data": results}).encode(), models, ASKED)


def test_fan_out_answer_is_one_outcome_a_model():
    error = {"message": "it does not exist", "type": "NotFoundError", "code": 404, "param": "models"}
    first, second, third = fanout(
        {"model": "a", "tokens": packed([9, 4, 2, 7, 50], "<i4"), "logprobs": packed([-2, -1, -1, -0.1, -0.2], "<f4")},
        {"model": "b", "error": error},
        result("c", [1, 2], [-1.0, -3.0]),
    )
    assert first.ranking.items.tolist() == [2, 4, 9]  # ties by number; what is excluded or no item is left out
    assert (second.kind, second.detail) == (OutcomeKind.NOT_FOUND, "it does not exist")
    assert (third.kind, third.ranking.scores.tolist()) == (OutcomeKind.OK, [-1.0, -3.0])


def test_items_of_the_title_form_begin_behind_the_words():
    asked = replace(ASKED, item_offset=1000)
    body = json.dumps({"data": [result("a", [1004, 1, 1007, 1002], [-1.0, -1.5, -0.5, -2.0])]}).encode()
    assert parse_fanout(body, ["a"], asked)[0].ranking.items.tolist() == [4, 2]


@pytest.mark.parametrize(
    "broken",
    [
        result("a", [1, 2], [-1.0]),
        result("a", [1, 1], [-1.0, -2.0]),
        {"model": "a", "tokens": [1], "logprobs": packed([-np.inf], "<f4")},
        {"model": "a", "tokens": "%%%", "logprobs": "%%%"},
        {"model": "a", "tokens": packed([1], "<i8")[:5], "logprobs": ""},
    ],
)
def test_result_that_breaks_the_contract_costs_its_own_list_only(broken: dict[str, Any]):
    bad, good = fanout(broken, result("b", [3], [-1.0]))
    assert (bad.kind, good.kind) == (OutcomeKind.INVALID, OutcomeKind.OK)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"data": []}', b'{"data": [{"model": "b"}]}', b'{"data": [{"model": 7}]}']
)
def test_fan_out_answer_for_other_models_breaks_the_contract(body: bytes):
    with pytest.raises(ValueError):  # noqa: PT011 - which of the many reasons is for the log
        parse_fanout(body, ["a"], ASKED)


def test_fan_out_body_is_the_wires_and_carries_what_is_left_of_the_deadline():
    request = msgspec.json.decode(ASKED.fanout_body(["a", "b"], 0.15), type=FanoutRequest)
    assert request == FanoutRequest(["a", "b"], [50, 1], n=3, exclude=[7, 50], timeout_ms=150.0)


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with worker("base", 50) as made:
        yield made


@pytest.fixture
async def client(stub: Stub) -> AsyncIterator[WorkerClient]:
    async with aiohttp.ClientSession() as session:
        yield WorkerClient(session, stub.url)


async def test_loads_unloads_and_tells_what_there_is(client: WorkerClient):
    await client.load_adapter("a", "/adapters/a")
    await client.load_adapter("a", "/adapters/a")  # there already
    served = await client.served_models()
    assert (served.bases, served.adapters) == ({"base"}, {"a"})
    await client.unload_adapter("a")
    await client.unload_adapter("a")  # gone already
    assert (await client.served_models()).adapters == set()


async def test_nobody_listens_is_told_from_other_trouble(client: WorkerClient, stub: Stub):
    await stub.order(unwell=1)
    with pytest.raises(WorkerError, match="/health: status 500") as caught:
        await client.served_models()
    assert not isinstance(caught.value, NobodyListensError)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(NobodyListensError):
            await WorkerClient(session, f"http://127.0.0.1:{free_port()}").served_models()


async def test_load_that_is_refused_says_why(client: WorkerClient, stub: Stub):
    await stub.order(slots=1)
    await client.load_adapter("a", "/adapters/a")
    with pytest.raises(WorkerError, match=r"^not loaded from /adapters/b: status 400: .*no slot is free"):
        await client.load_adapter("b", "/adapters/b")


async def test_both_ways_of_asking_give_the_same_lists(client: WorkerClient):
    for name in ("a", "b"):
        await client.load_adapter(name, f"/adapters/{name}")
    together = await client.fan_out(["b", "a", "nobody"], ASKED, 1.0)
    singles = [await client.ask(name, ASKED) for name in ("b", "a", "nobody")]
    assert [outcome.kind for outcome in together] == [outcome.kind for outcome in singles] == ["ok", "ok", "not_found"]
    assert [o.ranking.items.tolist() for o in together] == [o.ranking.items.tolist() for o in singles]
    assert {outcome.kind for outcome in await client.fan_out(["x", "y"], ASKED, 1.0)} == {"not_found"}


@pytest.mark.parametrize(("retry_after", "seconds"), [(7, 7.0), (0, 0.0)])
async def test_refusal_says_how_long_to_wait(client: WorkerClient, stub: Stub, retry_after: int, seconds: float):
    await stub.order(mode="busy", retry_after=retry_after)
    for outcome in (await client.ask("base", ASKED), *await client.fan_out(["base"], ASKED, 1.0)):
        assert (outcome.kind, outcome.retry_after_seconds) == ("refused", seconds)


@pytest.mark.parametrize(("mode", "kind"), [("garbage", "invalid"), ("broken", "invalid")])
async def test_nonsense_is_invalid_whichever_way_it_is_asked(client: WorkerClient, stub: Stub, mode: str, kind: str):
    await stub.order(mode=mode)
    outcomes = [await client.ask("base", ASKED), *await client.fan_out(["base", "a"], ASKED, 1.0)]
    assert [outcome.kind for outcome in outcomes] == [kind] * 3
