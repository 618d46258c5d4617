"""CoLLM's question: what is sent, and which answers are none."""

import json

import numpy as np
import pytest

from models.contract.types import item_numbers
from service.workers.classification import Classification

ASKED = Classification([item_numbers([1, 2, 3]), item_numbers([1, 2]), item_numbers([1, 4])], item_numbers([9, 5, 7]))


def answer(*scores: float, order: tuple[int, ...] = (0, 1, 2)) -> bytes:
    data = [{"index": at, "label": "LABEL_0", "probs": [scores[at]], "num_classes": 1} for at in order]
    return json.dumps({"object": "list", "data": data}).encode()


def test_body_has_a_prompt_for_each_candidate():
    assert json.loads(ASKED.body("b-collm")) == {
        "model": "b-collm",
        "input": [[1, 2, 3], [1, 2], [1, 4]],
        "use_activation": False,
    }


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_candidates_come_best_first_and_ties_by_number(order: tuple[int, ...]):
    ranking = ASKED.read(answer(-0.5, 2.25, -0.5, order=order))
    assert ranking.items.tolist() == [5, 7, 9]
    assert ranking.scores.tolist() == [2.25, -0.5, -0.5]
    assert (ranking.items.dtype, ranking.scores.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": ""}]}',
        answer(1, 2, 3, order=(0, 1)),
        answer(1, 2, 3, order=(0, 1, 1)),
        answer(1, 2, 3, order=(0, 1, 2, 2)),
        answer(1, 2, 3).replace(b'"index": 2', b'"index": 3'),
        answer(1, 2, 3).replace(b"[3]", b"[3, 4]"),
        answer(1, 2, 3).replace(b"[3]", b"[]"),
        answer(1, 2, 3).replace(b"[3]", b"3"),
        answer(1, 2, 3).replace(b"[3]", b'["3"]'),
        answer(1, 2, 3).replace(b"[3]", b"[null]"),
        answer(1, 2, float("nan")),
        answer(1, 2, float("inf")),
        answer(1, 2, 1e39),
    ],
)
def test_what_is_no_answer_to_these_prompts(body: bytes):
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's, too
        ASKED.read(body)
