"""What a worker's answer is taken for."""

import json
from typing import Any

import numpy as np
import orjson
import pytest

from models.contract.types import item_numbers
from service.workers.client import parse_ranking
from service.workers.types import Completion

ASKED = Completion(prompt=[50, 1], candidates=3, excluded=item_numbers([7]), n_items=50)


def answer(logprobs: Any) -> bytes:
    return json.dumps({"id": "x", "choices": [{"text": "", "logprobs": {"top_logprobs": [logprobs]}}]}).encode()


def test_best_first_ties_by_number():
    ranking = parse_ranking(answer({"token_id:9": -2.0, "token_id:4": -1.0, "token_id:2": -1.0}), ASKED)
    assert ranking.items.tolist() == [2, 4, 9]
    assert ranking.scores.tolist() == [-1.0, -1.0, -2.0]
    assert ranking.items.dtype == np.int32


def test_drops_what_is_excluded_and_what_is_no_item_then_cuts():
    tokens = {"token_id:7": -0.1, "token_id:50": -0.2, "token_id:99": -0.3} | {f"token_id:{n}": -n for n in range(1, 6)}
    assert parse_ranking(answer(tokens), ASKED).items.tolist() == [1, 2, 3]


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
        parse_ranking(body, ASKED)


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
