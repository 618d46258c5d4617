"""``POST /classify`` over a real socket, in vLLM's shape."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engine import MODEL_SETTINGS, N_ITEMS, START, Client, Gate, Start

from models.contract.types import item_numbers
from service.engine import app
from service.engine.model import Answer, LanguageModel, Query

pytestmark = pytest.mark.engine

ANSWER = 7
PROMPTS = [[START, 1, 2, 3], [START, 1, 2, 4, 5], [START, 1, 6]]


@pytest.fixture
def model(root: Path) -> LanguageModel:
    """One that classifies; the other fixtures start it."""
    return LanguageModel.load(root / "checkpoint", replace(MODEL_SETTINGS, answer_token=ANSWER))


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "base", "input": PROMPTS, "use_activation": False} | changes


async def scores(client: Client, **changes: Any) -> list[float]:
    """The numbers, which must be there."""
    status, answer = await client.post("/classify", body(**changes))
    assert status == 200, answer
    assert [each["index"] for each in answer["data"]] == list(range(len(answer["data"])))
    return [each["probs"][0] for each in answer["data"]]


async def test_answer_has_vllms_shape(start: Start, model: LanguageModel) -> None:
    client = await start()
    status, answer = await client.post("/classify", body(user="u", priority=0, add_special_tokens=False))
    expected = [model.answer([Query(item_numbers(prompt))])[0].logit for prompt in PROMPTS]
    assert status == 200
    assert (answer["object"], answer["model"]) == ("list", "base")
    assert answer["id"].startswith("classify-")
    assert answer["usage"] == {"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12}
    assert [(each["index"], each["label"], each["num_classes"]) for each in answer["data"]] == [
        (number, "LABEL_0", 1) for number in range(3)
    ]
    assert [each["probs"] for each in answer["data"]] == [[pytest.approx(logit, abs=1e-5)] for logit in expected]


async def test_adapters_activation_and_one_prompt(start: Start, root: Path) -> None:
    client = await start()
    await client.load(root, "c00")
    raw, adapted = await scores(client), await scores(client, model="c00")
    assert np.abs(np.subtract(raw, adapted)).min() > 1e-3
    sigmoid = (1 / (1 + np.exp(-np.asarray(raw)))).tolist()
    assert await scores(client, use_activation=True) == pytest.approx(sigmoid, abs=1e-6)
    assert await scores(client, use_activation=None) == pytest.approx(sigmoid, abs=1e-6)
    assert await scores(client, input=PROMPTS[1]) == pytest.approx(raw[1:2], abs=1e-5)
    assert await scores(client, input=[PROMPTS[1], PROMPTS[1]]) == pytest.approx([raw[1]] * 2, abs=1e-5)


async def test_sharing_is_counted(start: Start) -> None:
    client = await start()
    await scores(client)
    await client.metric_line("localrec_engine_tokens_in_prompts_total 12.0")
    await client.metric_line("localrec_engine_tokens_computed_total 8.0")  # two shared, 2 + 3 + 1 own
    await client.metric_line("localrec_engine_batch_prompts_sum 3.0")
    await client.metric_line('localrec_engine_requests_total{endpoint="classify",outcome="ok"} 1.0')


async def test_many_candidates_are_one_batch(start: Start, gate: Gate) -> None:
    gate.open.set()
    client = await start(max_batch=4)
    assert len(await scores(client, input=[[START, 1, item % N_ITEMS] for item in range(200)])) == 200
    assert gate.batches == [200]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": []}, "at least one token id"),
        ({"input": [[]]}, "at least one token id"),
        ({"input": [[1], []]}, "at least one token id"),
        ({"input": [1, [2]]}, "got both"),
        ({"input": [[1], [N_ITEMS + 1]]}, "outside the vocabulary"),
        ({"input": [[1], [-1]]}, "outside the vocabulary"),
        ({"input": [[1], [1] * 22]}, "at most 21"),
        ({"input": [[1]] * 9}, "9 prompts, at most 8"),
        ({"input": "titles"}, "Expected"),
        ({"input": [[1.5]]}, "Expected"),
        ({"use_activation": "no"}, "Expected"),
        ({"model": None}, "Expected"),
        ({"truncate_prompt_tokens": 3}, "truncate_prompt_tokens"),
    ],
)
async def test_bad_request_is_400(start: Start, changes: dict[str, Any], message: str) -> None:
    client = await start(max_queue=8)
    status, answer = await client.post("/classify", body(**changes))
    assert (status, answer["error"]["code"], answer["error"]["type"]) == (400, 400, "BadRequestError")
    assert message in answer["error"]["message"]


async def test_more_tokens_than_a_pass_may_hold_are_413(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAX_CLASSIFIED_ROWS", 16)
    client = await start()
    assert len(await scores(client)) == 3  # 2 and 2 shared, 6 and 6 own
    status, answer = await client.post("/classify", body(input=[*PROMPTS, [START, 1, 7]]))
    assert (status, answer["error"]["param"]) == (413, "input")
    assert "18 rows of tokens, at most 16" in answer["error"]["message"]
    assert (await client.get("/health"))[0] == 200


async def test_unknown_adapter_method_and_malformed_body(start: Start) -> None:
    client = await start()
    status, answer = await client.post("/classify", body(model="c77"))
    assert (status, answer["error"]["type"], answer["error"]["param"]) == (404, "NotFoundError", "model")
    assert (await client.get("/classify"))[0] == 405
    assert (await client.post("/classify", b"{"))[0] == 400


async def test_model_without_an_answer_token_is_refused(start: Start, model: LanguageModel) -> None:
    model._answer_row = None
    client = await start()
    status, answer = await client.post("/classify", body())
    assert status == 400
    assert "does not classify" in answer["error"]["message"]


async def test_full_queue_counts_candidates(start: Start, gate: Gate) -> None:
    client = await start(max_queue=4)
    waiting = asyncio.create_task(scores(client))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    queued = asyncio.create_task(scores(client))
    await client.metric_line("localrec_engine_queue_calls 3.0")
    assert (await client.post("/classify", body()))[0] == 503
    gate.open.set()
    assert await waiting == pytest.approx(await queued)


async def test_client_that_left_costs_nothing(start: Start, gate: Gate) -> None:
    client = await start()
    first = asyncio.create_task(scores(client))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    gone = asyncio.create_task(scores(client, input=[[START, 9]]))
    await client.metric_line("localrec_engine_queue_length 1.0")
    gone.cancel()
    await client.metric_line('localrec_engine_requests_total{endpoint="classify",outcome="cancelled"} 1.0')
    gate.open.set()
    await first
    await scores(client)
    assert [len(query.tokens) for query in gate.queries] == [4, 5, 3] * 2


async def test_numbers_that_are_none_are_500(
    start: Start, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = model.answer([Query(item_numbers([1]))])[0]

    def broken(queries: Sequence[Query]) -> list[Answer]:
        return [replace(answer, logit=float("nan"))] * len(queries)

    monkeypatch.setattr(model, "answer", broken)
    status, refusal = await (await start()).post("/classify", body())
    assert (status, refusal["error"]["type"]) == (500, "InternalServerError")
    assert "no finite numbers" in refusal["error"]["message"]
