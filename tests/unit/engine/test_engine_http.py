"""The worker contract over a real socket: what vLLM answers, the engine answers."""

import asyncio
import base64
import io
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.checkpoints import write_adapter
from support.engine import ADAPTERS, N_ITEMS, START, Client, Gate, Start, completion

from models.contract.types import RankedList, item_numbers
from service.engine.batcher import MAX_ROWS
from service.engine.model import Answer, LanguageModel, Query

pytestmark = pytest.mark.engine

PROMPT = [START, 1, 2, 3]


async def test_completion_has_vllms_shape(start: Start, model: LanguageModel) -> None:
    client = await start()
    body = completion("base", PROMPT, logprobs=3, return_tokens_as_token_ids=True, add_special_tokens=False, seed=1)
    status, answer = await client.post("/v1/completions", body)
    expected = model.answer([Query(np.asarray(PROMPT, np.int32), 0, 3)])[0].ranking
    names = [f"token_id:{item}" for item in expected.items]
    logprobs = answer["choices"][0]["logprobs"]
    assert status == 200
    assert list(logprobs["top_logprobs"][0]) == names
    assert list(logprobs["top_logprobs"][0].values()) == pytest.approx(expected.scores.tolist(), abs=1e-5)
    assert logprobs["tokens"] == names[:1]
    assert logprobs["token_logprobs"] == pytest.approx([float(expected.scores[0])], abs=1e-5)
    assert logprobs["text_offset"] == [0]
    assert (answer["object"], answer["model"]) == ("text_completion", "base")
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}


async def test_nested_prompt_and_absent_logprobs(start: Start) -> None:
    client = await start()
    _, nested = await client.post("/v1/completions", completion("base", [PROMPT]))
    assert nested["choices"][0]["logprobs"]["top_logprobs"][0] == await client.ranked("base", PROMPT)
    _, answer = await client.post("/v1/completions", completion("base", PROMPT, logprobs=None))
    assert answer["choices"][0]["logprobs"] is None
    assert re.fullmatch(r"token_id:\d+", answer["choices"][0]["text"])


async def test_logit_bias_excludes(start: Start) -> None:
    client = await start()
    best = list(await client.ranked("base", PROMPT, 20))
    bias = {name.removeprefix("token_id:"): -100 for name in best[:10]}
    _, answer = await client.post("/v1/completions", completion("base", PROMPT, logit_bias=bias))
    assert list(answer["choices"][0]["logprobs"]["top_logprobs"][0]) == best[10:]


async def test_concurrent_requests_each_get_their_own_adapter(start: Start, root: Path) -> None:
    client = await start()
    await client.load(root, *ADAPTERS)
    calls = [(name, [START, item]) for item in range(20) for name in ("base", *ADAPTERS)]
    alone = [await client.ranked(name, prompt) for name, prompt in calls]
    together = await asyncio.gather(*(client.ranked(name, prompt) for name, prompt in calls))
    for expected, got in zip(alone, together, strict=True):
        assert list(got) == list(expected)
        assert list(got.values()) == pytest.approx(list(expected.values()), abs=1e-4)
    assert list(alone[0]) != list(alone[1]) != list(alone[2])


async def test_models_health_and_metrics(start: Start, root: Path) -> None:
    client = await start()
    await client.load(root, "c01")
    await client.ranked("c01", PROMPT)
    await client.post("/v1/completions", completion("nobody", PROMPT))
    assert (await client.get("/health"))[0] == 200
    base, adapter = (await client.get("/v1/models"))[1]["data"]
    assert (base["id"], base["parent"], base["max_model_len"]) == ("base", None, 22)
    assert (adapter["id"], adapter["parent"], adapter["root"]) == ("c01", "base", str(root / "adapters" / "c01"))
    _, metrics = await client.get("/metrics")
    for line in (
        'localrec_engine_requests_total{endpoint="completions",outcome="ok"} 1.0',
        'localrec_engine_requests_total{endpoint="completions",outcome="not_found"} 1.0',
        "localrec_engine_loaded_adapters 1.0",
        "localrec_engine_queue_length 0.0",
        "localrec_engine_batch_size_count 1.0",
        "localrec_engine_batch_seconds_count 1.0",
    ):
        assert line in metrics.splitlines()
    assert any(line.startswith("process_cpu_seconds_total ") for line in metrics.splitlines())


async def test_embeddings(start: Start, model: LanguageModel) -> None:
    client = await start()
    state = model.answer([Query(np.asarray(PROMPT, np.int32))])[0].state
    body: dict[str, Any] = {"model": "base", "input": PROMPT}
    _, unit = await client.post("/v1/embeddings", body)
    _, raw = await client.post("/v1/embeddings", body | {"use_activation": False, "encoding_format": "base64"})
    decoded = np.frombuffer(base64.b64decode(raw["data"][0]["embedding"]), "<f4")
    np.testing.assert_allclose(decoded, state, atol=1e-4)
    np.testing.assert_allclose(unit["data"][0]["embedding"], state / np.linalg.norm(state), atol=1e-5)
    assert unit["usage"]["prompt_tokens"] == 4


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": "titles"}, "prompt"),
        ({"prompt": [1.5]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [N_ITEMS + 1]}, "prompt"),
        ({"prompt": [1] * 22}, "prompt"),
        ({"max_tokens": 2}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 0.7}, "temperature"),
        ({"temperature": "cold"}, "temperature"),
        ({"logprobs": -1}, "logprobs"),
        ({"logprobs": 1025}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "n"),
        ({"stream": True}, "stream"),
        ({"echo": True}, "echo"),
        ({"return_tokens_as_token_ids": False}, "return_tokens_as_token_ids"),
        ({"logit_bias": {"999": -1}}, "logit_bias"),
        ({"logit_bias": {"-3": -1}}, "logit_bias"),
        ({"logit_bias": {"5": "low"}}, "logit_bias"),
        ({"logit_bias": {"five": 1}}, None),
        ({"seed": "x"}, "seed"),
        ({"best_of": 3}, None),
        ({"model": 3}, "model"),
    ],
)
async def test_bad_completion_is_400_and_names_the_field(
    start: Start, changes: dict[str, Any], field: str | None
) -> None:
    client = await start()
    status, answer = await client.post("/v1/completions", completion("base", PROMPT) | changes)
    assert status == 400
    assert answer["error"]["code"] == 400
    if field is not None:
        assert answer["error"]["param"] == field
    assert next(iter(changes)) in answer["error"]["message"] or "Expected" in answer["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe"])
async def test_malformed_body_is_400(start: Start, body: bytes) -> None:
    client = await start()
    for path in ("completions", "embeddings", "load_lora_adapter", "unload_lora_adapter"):
        status, answer = await client.post(f"/v1/{path}", body)
        assert (status, answer["error"]["type"]) == (400, "BadRequestError")


async def test_longest_prompt_and_all_logprobs(start: Start) -> None:
    client = await start()
    assert len(await client.ranked("base", [1] * 21, 1000)) == N_ITEMS + 1


async def test_unknown_model_path_and_method(start: Start) -> None:
    client = await start()
    status, answer = await client.post("/v1/completions", completion("c77", PROMPT))
    assert (status, answer["error"]["type"], answer["error"]["param"]) == (404, "NotFoundError", "model")
    assert "c77" in answer["error"]["message"]
    assert (await client.get("/v1/nothing"))[1]["error"]["code"] == 404
    assert (await client.get("/v1/completions"))[1]["error"]["code"] == 405


async def test_oversized_body_is_413(start: Start) -> None:
    client = await start()
    status, answer = await client.post("/v1/completions", io.BytesIO(b" " * (1 << 20) + b"{}"))
    assert (status, answer["error"]["code"]) == (413, 413)


async def test_load_and_unload(start: Start, root: Path) -> None:
    client = await start()
    path = str(root / "adapters" / "c00")
    load = {"lora_name": "a", "lora_path": path}
    assert await client.post("/v1/load_lora_adapter", load) == (200, "Success: LoRA adapter 'a' added successfully.")
    status, answer = await client.post("/v1/load_lora_adapter", load)
    assert status == 400
    assert "has already been loaded" in answer["error"]["message"]
    for refused in (load | {"lora_name": ""}, load | {"lora_name": "base"}, load | {"load_inplace": True}):
        assert (await client.post("/v1/load_lora_adapter", refused))[0] == 400
    assert (await client.post("/v1/unload_lora_adapter", {"lora_name": "a"}))[0] == 200
    assert (await client.post("/v1/unload_lora_adapter", {"lora_name": "a"}))[0] == 404
    assert (await client.post("/v1/completions", completion("a", PROMPT)))[0] == 404


async def test_equal_loads_at_once_load_once(start: Start, root: Path) -> None:
    client = await start()
    body = {"lora_name": "a", "lora_path": str(root / "adapters" / "c00")}
    answers = await asyncio.gather(*(client.post("/v1/load_lora_adapter", body) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 400, 400, 400, 400]


async def test_refused_adapter_leaves_nothing(start: Start, root: Path, tmp_path: Path) -> None:
    client = await start(adapter_root=tmp_path)
    write_adapter(tmp_path / "rank8", root / "checkpoint", 1, rank=8)
    shutil.copytree(root / "adapters" / "c00", tmp_path / "cut")
    (tmp_path / "cut" / "adapter_model.safetensors").write_bytes(b"PK")
    before = await client.ranked("base", PROMPT)
    for path, status, reason in (
        (tmp_path / "rank8", 400, "rank is 8"),
        (tmp_path / "cut", 400, "safetensors"),
        (root / "adapters" / "c00", 400, "outside the adapter root"),
        (tmp_path / "absent", 404, "no adapter at"),
    ):
        got, answer = await client.post("/v1/load_lora_adapter", {"lora_name": "x", "lora_path": str(path)})
        assert got == status
        assert reason in answer["error"]["message"]
    assert len((await client.get("/v1/models"))[1]["data"]) == 1
    assert (await client.post("/v1/completions", completion("x", PROMPT)))[0] == 404
    assert await client.ranked("base", PROMPT) == before


async def test_loading_and_unloading_under_traffic(start: Start, root: Path) -> None:
    """Requests for one adapter go on, all of them right, while others come and go in the neighbouring slots."""
    client = await start()
    await client.load(root, "c00")
    expected = await client.ranked("c00", PROMPT)
    stop = asyncio.Event()

    async def traffic() -> int:
        n = 0
        while not stop.is_set():
            assert list(await client.ranked("c00", PROMPT)) == list(expected)
            n += 1
        return n

    users = [asyncio.create_task(traffic()) for _ in range(4)]
    for _ in range(10):
        await client.load(root, "c01", "c02")
        for name in ("c01", "c02"):
            assert (await client.post("/v1/unload_lora_adapter", {"lora_name": name}))[0] == 200
    stop.set()
    assert min(await asyncio.gather(*users)) > 0


async def occupy(client: Client, gate: Gate) -> "asyncio.Task[Any]":
    """Start a request whose batch is held at the gate."""
    first = asyncio.create_task(client.ranked("base", PROMPT))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    return first


async def test_full_queue_is_503_at_once(start: Start, gate: Gate) -> None:
    client = await start(max_queue=2)
    waiting = [await occupy(client, gate)]
    waiting += [asyncio.create_task(client.ranked("base", PROMPT)) for _ in range(2)]
    await client.metric_line("localrec_engine_queue_length 2.0")
    async with client.session.post("/v1/completions", json=completion("base", PROMPT)) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert (await response.json())["error"]["type"] == "ServiceUnavailableError"
    gate.open.set()
    assert len(await asyncio.gather(*waiting)) == 3


async def test_client_that_left_costs_nothing(start: Start, gate: Gate) -> None:
    client = await start()
    first = await occupy(client, gate)
    gone = asyncio.create_task(client.ranked("base", [START, 9]))
    await client.metric_line("localrec_engine_queue_length 1.0")
    gone.cancel()
    await client.metric_line('localrec_engine_requests_total{endpoint="completions",outcome="cancelled"} 1.0')
    gate.open.set()
    await first
    await client.ranked("base", PROMPT)
    assert [len(query.tokens) for query in gate.queries] == [4, 4]


async def test_slot_of_an_unloaded_adapter_waits_for_its_last_request(start: Start, gate: Gate, root: Path) -> None:
    """A queued request that named an adapter is answered by it, though it was unloaded and another loaded meanwhile."""
    client = await start()
    await client.load(root, "c00")
    gate.open.set()
    expected = await client.ranked("c00", PROMPT)
    gate.open.clear()
    gate.entered.clear()
    first = await occupy(client, gate)
    late = asyncio.create_task(client.ranked("c00", PROMPT))
    await client.metric_line("localrec_engine_queue_length 1.0")
    assert (await client.post("/v1/unload_lora_adapter", {"lora_name": "c00"}))[0] == 200
    loading = asyncio.create_task(client.load(root, "c01"))
    await asyncio.sleep(0.05)
    gate.open.set()
    await asyncio.gather(first, loading)
    assert list(await late) == list(expected)


async def test_bug_in_the_model_is_500_in_the_same_shape(
    start: Start, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(queries: Sequence[Query]) -> list[Answer]:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(model, "answer", broken)
    client = await start()
    status, answer = await client.post("/v1/completions", completion("base", PROMPT))
    assert (status, answer["error"]["type"]) == (500, "InternalServerError")
    assert "secret" not in answer["error"]["message"]


async def test_health_is_503_where_nothing_takes_batches(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug in the queue")

    client = await start()
    assert (await client.get("/health"))[0] == 200
    monkeypatch.setattr("service.engine.queue.WaitingQueue.take", broken)
    unanswered = asyncio.create_task(client.ranked("base", PROMPT))
    async with asyncio.timeout(20):
        while (await client.get("/health"))[0] != 503:
            pass
    unanswered.cancel()


async def test_model_that_ranks_nothing_is_500_with_a_reason(
    start: Start, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Answer(RankedList(item_numbers([]), np.empty(0, np.float32)), np.zeros(64, np.float32))
    monkeypatch.setattr(model, "answer", lambda queries: [nothing] * len(queries))
    client = await start()
    status, answer = await client.post("/v1/completions", completion("base", PROMPT))
    assert (status, answer["error"]["type"]) == (500, "InternalServerError")
    assert "ranks no token" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("max_model_tokens", "max_batch", "expected"),
    [(22, 64, (21, 64)), (12, 1, (11, 1)), (301, 64, (300, 27)), (10_000, 64, (MAX_ROWS, 1))],
)
async def test_longest_and_largest_batch_runs_in_the_models_thread_before_the_first_request(
    start: Start,
    model: LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    max_model_tokens: int,
    max_batch: int,
    expected: tuple[int, int],
) -> None:
    runs: list[tuple[str, tuple[int, int]]] = []
    monkeypatch.setattr(model, "warm_up", lambda *sizes: runs.append((threading.current_thread().name, sizes)))
    client = await start(max_model_tokens=max_model_tokens, max_batch=max_batch)
    assert runs == [("model_0", expected)]
    await client.metric_line("localrec_engine_batch_size_count 0.0")
