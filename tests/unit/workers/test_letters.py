"""ULMRec's question: what is sent, how its answer is read, and which answers are none."""

import json

import pytest

from models.contract.types import item_numbers
from service.workers.letters import Letters

ASKED = Letters(item_numbers([8, 1, 9]), item_numbers([40, 7, 21]), item_numbers([65, 66, 67]))


def answer(logprobs: str, positions: str = "") -> bytes:
    return f'{{"choices": [{{"text": "", "logprobs": {{"top_logprobs": [{logprobs}{positions}]}}}}]}}'.encode()


def of(**logprobs: float) -> bytes:
    return answer(json.dumps({f"token_id:{token[1:]}": number for token, number in logprobs.items()}))


def test_body_asks_for_one_token_out_of_the_letters():
    assert json.loads(ASKED.body("b-ulmrec")) == {
        "model": "b-ulmrec",
        "prompt": [8, 1, 9],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 3,
        "return_tokens_as_token_ids": True,
        "allowed_token_ids": [65, 66, 67],
    }


def test_letters_become_candidates_best_first():
    ranking = ASKED.read(of(t66=-0.5, t65=-2.0, t67=-1.0))
    assert ranking.items.tolist() == [7, 21, 40]
    assert ranking.scores.tolist() == [-0.5, -1.0, -2.0]


def test_equal_ones_come_by_item_number():
    assert ASKED.read(of(t65=-1.0, t66=-1.0, t67=-1.0)).items.tolist() == [7, 21, 40]


def test_one_candidate_is_asked_about_like_any_number():
    alone = Letters(item_numbers([8]), item_numbers([40]), item_numbers([65]))
    assert json.loads(alone.body("b"))["logprobs"] == 1
    assert alone.read(of(t65=0.0)).items.tolist() == [40]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"choices": []}',
        b'{"data": [{"index": 0, "embedding": "AAAAAAAAAAA="}]}',
        answer("null"),
        answer("{}"),
        answer('{"token_id:65": -1, "token_id:66": -1, "token_id:67": -1}', ", {}"),
        of(t65=-1.0, t66=-1.0),
        of(t65=-1.0, t66=-1.0, t68=-1.0),
        of(t65=-1.0, t66=-1.0, t67=-1.0, t68=-1.0),
        answer('{"token_id:65": -1, "token_id:66": -1, "token_id:66": -2}'),
        answer('{"token_id:65": -1, "token_id:66": -1, "token_id:066": -2, "token_id:67": -1}'),
        answer('{"token_id:65": -1, "token_id:66": -1, "C": -1}'),
        answer('{"token_id:65": -1, "token_id:66": -1, "token_id:67": NaN}'),
        answer('{"token_id:65": -1, "token_id:66": -1, "token_id:67": -1e31}'),
        answer('{"token_id:65": -1, "token_id:66": -1, "token_id:67": null}'),
    ],
)
def test_what_does_not_rank_exactly_the_letters(body: bytes):
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's, too
        ASKED.read(body)


def test_calls_after_the_same_prompt_go_to_the_same_replica():
    assert ASKED.affinity == Letters(item_numbers([8, 1, 9]), ASKED.candidates, ASKED.answers).affinity
    assert ASKED.affinity != Letters(item_numbers([8, 1]), ASKED.candidates, ASKED.answers).affinity
