"""``POST /v1/fanout`` over a real socket: one history, many adapters, one list each."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.checkpoints import write_adapter, write_checkpoint
from support.engine import ADAPTERS, N_ITEMS, RANK, START, Client, Gate, Start, completion

from models.contract.types import RankedList
from service.engine.lora import AdapterWeights, PreparedAdapter
from service.engine.model import LanguageModel
from service.wire import FANOUT_PATH, FanoutResponse, decode_ranking

pytestmark = pytest.mark.engine

PROMPT = [START, 1, 2, 3]
TOLERANCE = 1e-4


def fanout(models: Sequence[str], prompt: Sequence[int] = PROMPT, **others: Any) -> dict[str, Any]:
    """Body of a fan-out as the gateway sends it."""
    return {"models": list(models), "prompt": list(prompt), "n": 10} | others


async def lists(client: Client, body: dict[str, Any]) -> dict[str, RankedList]:
    """Lists by model of a fan-out, which must succeed."""
    status, answer = await client.post(FANOUT_PATH, body)
    assert status == 200, answer
    response = msgspec.convert(answer, FanoutResponse)
    assert [result.model for result in response.data] == body["models"]
    return {result.model: decode_ranking(result) for result in response.data if result.error is None}


async def test_fan_out_is_the_single_calls(start: Start, root: Path) -> None:
    client = await start()
    await client.load(root, *ADAPTERS)
    rng = np.random.default_rng(2)
    names = ["c02", "base", "c00", "c01"]
    for length in (0, 1, 7, 20):
        prompt = [START, *rng.integers(0, N_ITEMS, length).tolist()]
        for name, ranking in (await lists(client, fanout(names, prompt))).items():
            single = await client.ranked(name, prompt)
            assert [f"token_id:{token}" for token in ranking.items] == list(single)
            np.testing.assert_allclose(ranking.scores, list(single.values()), atol=TOLERANCE)


async def test_users_and_adapters_share_batches(start: Start, root: Path, gate: Gate) -> None:
    client = await start()
    await client.load(root, *ADAPTERS)
    asked = [fanout(names, [START, user]) for user, names in enumerate([("c00", "c02"), ADAPTERS, ("base", "c01")] * 3)]
    first = asyncio.create_task(lists(client, fanout(["base"])))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    together = [asyncio.create_task(lists(client, body)) for body in asked]
    await client.metric_line("localrec_engine_queue_length 9.0")
    await client.metric_line("localrec_engine_queue_calls 21.0")
    gate.open.set()
    answers = await asyncio.gather(first, *together)
    assert gate.batches == [1, 21]
    for body, got in zip(asked, answers[1:], strict=True):
        alone = await lists(client, body)
        assert {name: each.items.tolist() for name, each in got.items()} == {
            name: each.items.tolist() for name, each in alone.items()
        }


async def test_excluded_tokens_are_not_ranked(start: Start, root: Path) -> None:
    client = await start()
    await client.load(root, "c00")
    full = (await lists(client, fanout(["c00"], n=N_ITEMS + 1)))["c00"]
    excluded = full.items[:20].tolist()
    rest = (await lists(client, fanout(["c00"], n=N_ITEMS + 1, exclude=excluded)))["c00"]
    assert rest.items.tolist() == full.items[20:].tolist()
    expected = full.scores[20:] - np.log(np.exp(full.scores[20:].astype(np.float64)).sum())
    np.testing.assert_allclose(rest.scores, expected, atol=1e-3)


async def test_allowed_tokens_alone_are_ranked_beside_other_requests(start: Start, root: Path, gate: Gate) -> None:
    """Requests of other constraints share the batch; a completion says the same in vLLM's words."""
    client = await start()
    await client.load(root, "c00")
    gate.open.set()
    full = (await lists(client, fanout(["c00"], n=N_ITEMS + 1)))["c00"]
    allowed = full.items[1::3].tolist()
    gate.open.clear()
    gate.entered.clear()
    first = asyncio.create_task(lists(client, fanout(["base"])))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    bodies = [fanout(["c00"], n=5, allow=allowed), fanout(["c00"], n=N_ITEMS, exclude=allowed), fanout(["c00"])]
    together = [asyncio.create_task(lists(client, body)) for body in bodies]
    asked = completion("c00", PROMPT, logprobs=5, allowed_token_ids=allowed)
    single = asyncio.create_task(client.post("/v1/completions", asked))
    await client.metric_line("localrec_engine_queue_calls 4.0")
    gate.open.set()
    narrowed, others, plain = [(await each)["c00"] for each in together]
    await first
    assert gate.batches[-1] == 4
    assert narrowed.items.tolist() == allowed[:5]
    assert others.items.tolist() == [token for token in full.items.tolist() if token not in allowed]
    assert plain.items.tolist() == full.items[:10].tolist()
    total = np.log(np.exp(full.scores[1::3].astype(np.float64)).sum())
    np.testing.assert_allclose(narrowed.scores, full.scores[1::3][:5] - total, atol=1e-3)
    ranked = (await single)[1]["choices"][0]["logprobs"]["top_logprobs"][0]
    assert list(ranked) == [f"token_id:{token}" for token in allowed[:5]]


@pytest.mark.parametrize("allow", [[], [N_ITEMS + 1], [-1], "all"])
async def test_bad_allowances_are_400_and_name_the_field(start: Start, allow: Any) -> None:
    client = await start()
    status, answer = await client.post(FANOUT_PATH, fanout(["base"], allow=allow))
    assert (status, answer["error"]["param"]) == (400, "allow")
    status, answer = await client.post("/v1/completions", completion("base", PROMPT, allowed_token_ids=allow))
    assert (status, answer["error"]["param"]) == (400, "allowed_token_ids")


async def test_numbers_in_json(start: Start) -> None:
    client = await start()
    packed = (await lists(client, fanout(["base"])))["base"]
    _, answer = await client.post(FANOUT_PATH, fanout(["base"], encoding_format="float"))
    assert answer["object"] == "fanout"
    assert answer["data"][0]["tokens"] == packed.items.tolist()
    assert answer["data"][0]["logprobs"] == pytest.approx(packed.scores.tolist(), abs=1e-6)


async def test_unknown_adapter_has_an_error_in_its_place(start: Start, root: Path) -> None:
    client = await start()
    await client.load(root, "c00")
    status, answer = await client.post(FANOUT_PATH, fanout(["c77", "c00"]))
    assert status == 200
    missing, found = answer["data"]
    assert missing["model"] == "c77"
    assert (missing["error"]["code"], missing["error"]["type"]) == (404, "NotFoundError")
    assert "c77" in missing["error"]["message"]
    assert found["tokens"]
    assert "error" not in found
    status, answer = await client.post(FANOUT_PATH, fanout(["c77", "c78"]))
    assert (status, answer["error"]["param"]) == (404, "models")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"models": []}, "models"),
        ({"models": ["base", "base"]}, "models"),
        ({"models": [3]}, "models"),
        ({"models": "base"}, "models"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [N_ITEMS + 1]}, "prompt"),
        ({"prompt": [1] * 22}, "prompt"),
        ({"prompt": [[1]]}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 1025}, "n"),
        ({"n": "ten"}, "n"),
        ({"exclude": [N_ITEMS + 1]}, "exclude"),
        ({"exclude": [-1]}, "exclude"),
        ({"timeout_ms": "soon"}, "timeout_ms"),
        ({"encoding_format": "binary"}, "encoding_format"),
        ({"temperature": 0}, None),
    ],
)
async def test_bad_fan_out_is_400_and_names_the_field(start: Start, changes: dict[str, Any], field: str | None) -> None:
    client = await start()
    status, answer = await client.post(FANOUT_PATH, fanout(["base"]) | changes)
    assert (status, answer["error"]["code"]) == (400, 400)
    assert answer["error"]["param"] == field
    assert next(iter(changes)) in answer["error"]["message"]


class Prepared:
    """Says when an adapter lies in a slot, and in which."""

    def __init__(self, model: LanguageModel) -> None:
        self._prepare = model.adapters.prepare
        self.done = threading.Event()
        self.slots: list[int] = []

    def prepare(self, slot: int, weights: AdapterWeights) -> PreparedAdapter:
        prepared = self._prepare(slot, weights)
        self.slots.append(slot)
        self.done.set()
        return prepared


@pytest.fixture
def prepared(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    prepared = Prepared(model)
    monkeypatch.setattr(model.adapters, "prepare", prepared.prepare)
    return prepared


async def test_full_queue_is_503_at_once(start: Start, root: Path, gate: Gate) -> None:
    client = await start(max_queue=4)
    await client.load(root, *ADAPTERS)
    first = asyncio.create_task(lists(client, fanout(ADAPTERS)))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    waiting = asyncio.create_task(lists(client, fanout(ADAPTERS)))
    await client.metric_line("localrec_engine_queue_length 1.0")
    async with client.session.post(FANOUT_PATH, json=fanout(ADAPTERS)) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        error = (await response.json())["error"]
        assert error["type"] == "ServiceUnavailableError"
        assert "3 calls of 1 requests wait" in error["message"]
    gate.open.set()
    await asyncio.gather(first, waiting)


async def test_fan_out_that_no_queue_can_hold_is_400(start: Start) -> None:
    client = await start(max_queue=4)
    status, answer = await client.post(FANOUT_PATH, fanout(["base", "a", "b", "c", "d"]))
    assert (status, answer["error"]["param"]) == (400, "models")
    assert "5 are named, at most 4" in answer["error"]["message"]


async def test_late_request_is_504_and_never_computed(start: Start, gate: Gate) -> None:
    client = await start()
    first = asyncio.create_task(lists(client, fanout(["base"])))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    late = asyncio.create_task(client.post(FANOUT_PATH, fanout(["base"], timeout_ms=5)))
    await client.metric_line("localrec_engine_queue_length 1.0")
    await asyncio.sleep(0.01)
    gate.open.set()
    status, answer = await late
    assert (status, answer["error"]["code"], answer["error"]["type"]) == (504, 504, "DeadlineExceededError")
    await first
    assert gate.batches == [1]
    assert (await client.post(FANOUT_PATH, fanout(["base"], timeout_ms=-1)))[0] == 504
    await client.metric_line('localrec_engine_requests_total{endpoint="fanout",outcome="deadline"} 2.0')


async def test_metrics(start: Start, root: Path) -> None:
    client = await start()
    await client.load(root, *ADAPTERS)
    await lists(client, fanout(ADAPTERS))
    lines = (await client.get("/metrics"))[1].splitlines()
    for line in (
        'localrec_engine_requests_total{endpoint="fanout",outcome="ok"} 1.0',
        "localrec_engine_batch_size_sum 3.0",
        "localrec_engine_batch_prompts_sum 1.0",
        "localrec_engine_loaded_adapters 3.0",
    ):
        assert line in lines
    assert next(float(line.split()[1]) for line in lines if line.startswith("localrec_engine_adapter_bytes ")) > 0


async def test_adapters_come_and_go_under_traffic(start: Start, root: Path) -> None:
    """No fan-out fails, and all of it is right, while others load beyond the capacity, so that the stacks grow."""
    client = await start()
    await client.load(root, "c00", "c01")
    expected = {name: each.items.tolist() for name, each in (await lists(client, fanout(["c00", "c01"]))).items()}
    stop, longest = asyncio.Event(), 0.0

    async def traffic() -> int:
        nonlocal longest
        n = 0
        while not stop.is_set():
            started = time.monotonic()
            got = await lists(client, fanout(["c00", "c01"]))
            longest = max(longest, time.monotonic() - started)
            assert {name: each.items.tolist() for name, each in got.items()} == expected
            n += 1
        return n

    users = [asyncio.create_task(traffic()) for _ in range(4)]
    path = str(root / "adapters" / "c02")
    for number in range(20):
        body = {"lora_name": f"new{number}", "lora_path": path}
        assert (await client.post("/v1/load_lora_adapter", body))[0] == 200
    for number in range(20):
        assert (await client.post("/v1/unload_lora_adapter", {"lora_name": f"new{number}"}))[0] == 200
    stop.set()
    assert min(await asyncio.gather(*users)) > 0
    assert longest < 5


async def test_unloading_an_adapter_that_is_in_use(start: Start, root: Path, gate: Gate, prepared: Prepared) -> None:
    client = await start()
    await client.load(root, *ADAPTERS)
    gate.open.set()
    expected = await lists(client, fanout(ADAPTERS))
    gate.open.clear()
    gate.entered.clear()
    first = asyncio.create_task(lists(client, fanout(["base"])))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    asked = asyncio.create_task(lists(client, fanout(ADAPTERS)))
    await client.metric_line("localrec_engine_queue_length 1.0")
    assert (await client.post("/v1/unload_lora_adapter", {"lora_name": "c01"}))[0] == 200
    body = {"lora_name": "other", "lora_path": str(root / "adapters" / "c00")}
    prepared.done.clear()
    loading = asyncio.create_task(client.post("/v1/load_lora_adapter", body))
    assert await asyncio.to_thread(prepared.done.wait, 20)
    gate.open.set()
    got = await asked
    assert {name: each.items.tolist() for name, each in got.items()} == {
        name: each.items.tolist() for name, each in expected.items()
    }
    assert (await loading)[0] == 200
    await first
    status, answer = await client.post(FANOUT_PATH, fanout(ADAPTERS))
    assert status == 200
    assert [result.get("error") is not None for result in answer["data"]] == [False, True, False]


async def test_adapters_of_several_bundles_on_one_checkpoint(start: Start, root: Path, tmp_path: Path) -> None:
    """Two bundles with equal checkpoints share a worker, and one batch."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", N_ITEMS)  # the same weights as the one served
    write_adapter(tmp_path / "bundle-1" / "adapters" / "c00", checkpoint, 11, RANK)
    write_adapter(tmp_path / "bundle-2" / "adapters" / "c00", checkpoint, 12, RANK)
    client = await start(adapter_root=tmp_path)
    for bundle in ("bundle-1", "bundle-2"):
        body = {"lora_name": f"{bundle}-c00", "lora_path": str(tmp_path / bundle / "adapters" / "c00")}
        assert (await client.post("/v1/load_lora_adapter", body))[0] == 200
    got = await lists(client, fanout(["bundle-1-c00", "bundle-2-c00"]))
    for name, ranking in got.items():
        assert [f"token_id:{token}" for token in ranking.items] == list(await client.ranked(name, PROMPT))
    assert got["bundle-1-c00"].items.tolist() != got["bundle-2-c00"].items.tolist()


async def test_client_that_left_costs_nothing(start: Start, gate: Gate) -> None:
    client = await start()
    first = asyncio.create_task(lists(client, fanout(["base"])))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    gone = asyncio.create_task(lists(client, fanout(["base"], [START, 9])))
    await client.metric_line("localrec_engine_queue_length 1.0")
    gone.cancel()
    await client.metric_line('localrec_engine_requests_total{endpoint="fanout",outcome="cancelled"} 1.0')
    gate.open.set()
    await first
    await lists(client, fanout(["base"]))
    assert gate.batches == [1, 1]


async def test_slot_is_kept_while_the_batch_of_a_client_that_left_runs(
    start: Start, root: Path, gate: Gate, prepared: Prepared
) -> None:
    client = await start()
    await client.load(root, "c00")
    gone = asyncio.create_task(lists(client, fanout(["c00"])))
    assert await asyncio.to_thread(gate.entered.wait, 20)
    gone.cancel()
    await client.metric_line('localrec_engine_requests_total{endpoint="fanout",outcome="cancelled"} 1.0')
    assert (await client.post("/v1/unload_lora_adapter", {"lora_name": "c00"}))[0] == 200
    prepared.done.clear()
    loading = asyncio.create_task(client.load(root, "c01"))
    assert await asyncio.to_thread(prepared.done.wait, 20)
    gate.open.set()
    await loading
    await client.load(root, "c02")
    assert prepared.slots == [1, 2, 1]  # the batch has ended: the slot is free
