"""HatLLM's and L2Rec's question: what is sent, what is found by the answer, and which answers are none."""

import base64
import dataclasses
import json

import numpy as np
import pytest

from models.contract.index import EXACT_BELOW_ITEMS, build_index
from models.contract.types import Array, item_numbers
from service.workers.embedding import Embedding

ROWS = np.asarray([[1, 0], [0, 1], [1, 1], [-1, 0]], np.float32)
ASKED = Embedding([3, 1, 2], 2, item_numbers([0]), build_index(ROWS), 2)


def answer(state: Array, dtype: str = "<f4") -> bytes:
    embedding = base64.b64encode(np.asarray(state).astype(dtype).tobytes()).decode()
    return json.dumps({"object": "list", "data": [{"index": 0, "embedding": embedding}]}).encode()


STATE = answer(np.asarray([2.0, 1.0]))


def test_body_asks_for_the_state_as_it_is():
    assert json.loads(ASKED.body("b-hatllm")) == {
        "model": "b-hatllm",
        "input": [3, 1, 2],
        "encoding_format": "base64",
        "use_activation": False,
    }


def test_body_tells_the_users_embedding_as_float32():
    asked = dataclasses.replace(ASKED, user=np.asarray([0.5, -2.0], np.float16))
    body = json.loads(asked.body("b-l2rec"))
    assert np.frombuffer(base64.b64decode(body.pop("user_embedding")), "<f4").tolist() == [0.5, -2.0]
    assert body == json.loads(ASKED.body("b-l2rec"))


def test_items_are_found_by_their_rows():
    ranking = ASKED.read(STATE)
    assert ranking.items.tolist() == [2, 1]
    assert ranking.scores.tolist() == [3.0, 1.0]


def test_only_what_is_allowed_is_found():
    allowed = np.asarray([True, True, False, True])
    narrow = Embedding([3], 4, item_numbers([0]), build_index(ROWS), 2, allowed)
    assert narrow.read(STATE).items.tolist() == [1, 3]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"data": []}',
        b'{"data": [{"index": 0, "probs": [1.0]}]}',
        b'{"data": [{"index": 0, "embedding": [2.0, 1.0]}]}',
        b'{"data": [{"index": 0, "embedding": "????"}]}',
        b'{"data": [{"index": 0, "embedding": "AAA="}]}',
        STATE.replace(b"}]", b'}, {"index": 1, "embedding": "AAAAAAAAAAA="}]'),
        answer(np.asarray([2.0])),
        answer(np.asarray([2.0, 1.0, 0.0])),
        answer(np.asarray([2.0, 1.0]), "<f8"),
        answer(np.asarray([2.0, np.nan])),
        answer(np.asarray([2.0, np.inf])),
        answer(np.asarray([3e38, 3e38])),
    ],
)
def test_what_is_no_state(body: bytes):
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's, too
        ASKED.read(body)


@pytest.mark.parametrize("n_items", [4, EXACT_BELOW_ITEMS])
def test_state_whose_products_are_no_numbers_is_none(n_items: int):
    rows = np.tile(np.asarray([[4] * 32 + [-4] * 32], np.float32), (n_items, 1))  # infinity less infinity
    asked = Embedding([3], 2, item_numbers([]), build_index(rows), 64)
    with pytest.raises(ValueError, match="expected"):
        asked.read(answer(np.full(64, 3e38)))
