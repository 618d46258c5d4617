"""L2Rec behind the engine's endpoints: vectors of users, experts of several bundles, what is refused."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engine import Client, Gate, completion, running, until
from support.small_l2rec import (
    MAX_TOKENS,
    base_vectors,
    experts,
    random_histories,
    random_users,
    reference,
    title_tokens,
    vectors,
)

from models.contract.l2rec import EXPERTS_CONFIG, EXPERTS_WEIGHTS
from models.contract.types import Floats, Ints
from service.engine.app import EngineSettings
from service.engine.l2rec import L2RecModel
from service.engine.model import ModelSettings

pytestmark = pytest.mark.engine

N_ITEMS, N_USERS = 20, 12
TOLERANCE = 1e-5
SETTINGS = ModelSettings(lora_rank=4, device="cpu", dtype="float32")
PROMPTS, USERS = random_histories(N_USERS, N_ITEMS), random_users(N_USERS)


@pytest.fixture
def model(l2rec_root: Path) -> L2RecModel:
    """Without experts."""
    return L2RecModel.load(l2rec_root / "a/checkpoint", experts(l2rec_root, "a"), SETTINGS)


@pytest.fixture
def gate(model: L2RecModel, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The model's batches wait until it is opened."""
    gate = Gate(model)
    monkeypatch.setattr(model, "answer", gate.answer)
    return gate


@pytest.fixture
async def start(l2rec_root: Path, model: L2RecModel) -> AsyncIterator[Any]:
    settings = EngineSettings("base", l2rec_root / "a/checkpoint", l2rec_root, max_model_tokens=MAX_TOKENS + 1)
    async with AsyncExitStack() as stack:

        async def started(**changes: Any) -> Client:
            return await stack.enter_async_context(running(model, replace(settings, **changes)))

        yield started


async def load(client: Client, l2rec_root: Path, name: str) -> tuple[int, Any]:
    return await client.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(experts(l2rec_root, name))})


def body(model: str, prompt: Ints, user: Floats | None, **others: Any) -> dict[str, Any]:
    """As the gateway sends it."""
    encoded = {} if user is None else {"user_embedding": base64.b64encode(user.astype("<f4").tobytes()).decode()}
    fixed = {"encoding_format": "base64", "use_activation": False}
    return {"model": model, "input": prompt.tolist()} | fixed | encoded | others


async def vector(client: Client, *asked: Any, **others: Any) -> Floats:
    status, answer = await client.post("/v1/embeddings", body(*asked, **others))
    assert status == 200, answer
    assert answer["usage"]["prompt_tokens"] == len(asked[1])
    return np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4")


async def all_vectors(client: Client, name: str) -> Floats:
    return np.stack(await asyncio.gather(*(vector(client, name, *pair) for pair in zip(PROMPTS, USERS, strict=True))))


async def test_users_of_two_bundles_get_their_vectors_in_common_batches(l2rec_root: Path, start: Any) -> None:
    client = await start()
    for name in "ab":
        assert (await load(client, l2rec_root, name))[0] == 200
    served = await asyncio.gather(*(all_vectors(client, name) for name in ("a", "b", "base")))
    for name, rows in zip("ab", served, strict=False):
        np.testing.assert_allclose(rows, vectors(reference(l2rec_root, name), PROMPTS, USERS), atol=TOLERANCE)
    np.testing.assert_allclose(served[2], base_vectors(reference(l2rec_root, "a"), PROMPTS), atol=TOLERANCE)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(served), axis=1), 1, atol=TOLERANCE)
    assert min(np.abs(served[0] - served[1]).max(), np.abs(served[0] - served[2]).max()) > 0.01


async def test_who_the_user_is_matters_and_nobody_is_zero(l2rec_root: Path, start: Any) -> None:
    client = await start()
    await load(client, l2rec_root, "a")
    first, other, nobody, zero = [
        await vector(client, "a", PROMPTS[3], user) for user in (USERS[0], USERS[1], None, np.zeros(16, np.float32))
    ]
    assert np.abs(first - other).max() > 1e-4
    np.testing.assert_array_equal(nobody, zero)
    np.testing.assert_allclose(
        nobody, vectors(reference(l2rec_root, "a"), PROMPTS[3:4], np.zeros((1, 16), np.float32))[0], atol=1e-5
    )


async def test_activation_has_no_say(l2rec_root: Path, start: Any) -> None:
    client = await start()
    plain = await vector(client, "base", PROMPTS[0], USERS[0])
    scaled = await vector(client, "base", PROMPTS[0], USERS[0], use_activation=True)
    np.testing.assert_allclose(scaled, plain, atol=1e-6)


async def test_a_bundle_switch_keeps_the_base_model(l2rec_root: Path, start: Any) -> None:
    client = await start()
    await load(client, l2rec_root, "a")
    before = await vector(client, "a", PROMPTS[0], USERS[0])
    await load(client, l2rec_root, "b")
    np.testing.assert_allclose(await vector(client, "a", PROMPTS[0], USERS[0]), before, atol=1e-6)
    assert (await client.post("/v1/unload_lora_adapter", {"lora_name": "a"}))[0] == 200
    assert (await client.post("/v1/embeddings", body("a", PROMPTS[0], USERS[0])))[0] == 404
    expected = vectors(reference(l2rec_root, "b"), PROMPTS[:1], USERS[:1])[0]
    np.testing.assert_allclose(await vector(client, "b", PROMPTS[0], USERS[0]), expected, atol=TOLERANCE)
    assert [card["id"] for card in (await client.get("/v1/models"))[1]["data"]] == ["base", "b"]


async def test_a_request_keeps_the_experts_that_it_named(l2rec_root: Path, start: Any, gate: Gate) -> None:
    """Unloaded while its batch waits, and the slot is not given to the next."""
    client = await start()
    await load(client, l2rec_root, "a")
    asked = asyncio.create_task(vector(client, "a", PROMPTS[0], USERS[0]))
    await until(gate.entered.is_set)
    await client.post("/v1/unload_lora_adapter", {"lora_name": "a"})
    loading = asyncio.create_task(load(client, l2rec_root, "b"))
    gate.open.set()
    assert (await loading)[0] == 200
    np.testing.assert_allclose(
        await asked, vectors(reference(l2rec_root, "a"), PROMPTS[:1], USERS[:1])[0], atol=TOLERANCE
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (base64.b64encode(np.zeros(15, "<f4").tobytes()).decode(), "15 numbers, expected 16"),
        (base64.b64encode(np.zeros(16, "<f4").tobytes() + b"x").decode(), "expected base64 of float32"),
        (base64.b64encode(np.full(16, np.nan, "<f4").tobytes()).decode(), "finite"),
        (base64.b64encode(np.full(16, 1e30, "<f4").tobytes()).decode(), "finite numbers of at most 65504"),
        ("?", "expected base64"),
        ("", "0 numbers"),
        ([0.0] * 16, "Expected `str | null`"),
    ],
)
async def test_what_is_no_users_embedding_is_refused(start: Any, given: Any, reason: str) -> None:
    client = await start()
    status, answer = await client.post("/v1/embeddings", body("base", PROMPTS[0], None, user_embedding=given))
    assert (status, answer["error"]["param"]) == (400, "user_embedding")
    assert reason in answer["error"]["message"]


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ([5, 7, 9], "holds no item: 3 tokens"),
        ([], "at least one"),
        ([5] * 61, "at most 60"),
        ([5, 7, 9, 15], "token id"),
    ],
)
async def test_what_is_no_history_is_refused(start: Any, prompt: list[int], reason: str) -> None:
    client = await start()
    status, answer = await client.post("/v1/embeddings", {"model": "base", "input": prompt})
    assert (status, answer["error"]["param"]) == (400, "input")
    assert reason in answer["error"]["message"]


async def test_other_questions_are_refused(start: Any) -> None:
    client = await start()
    prompt = PROMPTS[0].tolist()
    for path, asked in (
        ("/v1/completions", completion("base", prompt)),
        ("/v1/fanout", {"models": ["base"], "prompt": prompt, "n": 5}),
        ("/classify", {"model": "base", "input": prompt}),
    ):
        status, answer = await client.post(path, asked)
        assert (status, answer["error"]["param"]) == (400, "models" if path == "/v1/fanout" else "model"), path


async def test_a_full_queue_is_refused(start: Any, gate: Gate) -> None:
    client = await start(max_queue=1, max_batch=1)
    first = asyncio.create_task(vector(client, "base", PROMPTS[0], USERS[0]))
    await until(gate.entered.is_set)
    second = asyncio.create_task(vector(client, "base", PROMPTS[1], USERS[1]))
    await client.metric_line("localrec_engine_queue_calls 1.0")
    assert (await client.post("/v1/embeddings", body("base", PROMPTS[2], USERS[2])))[0] == 503
    gate.open.set()
    await asyncio.gather(first, second)


async def test_costs_are_told(l2rec_root: Path, start: Any) -> None:
    client = await start()
    await load(client, l2rec_root, "a")
    prompt = title_tokens(N_ITEMS).prompt([1, 2])  # of 3 + 2 + 3 tokens
    await vector(client, "a", prompt, USERS[0])
    await client.metric_line("localrec_engine_tokens_in_prompts_total 8.0")
    await client.metric_line("localrec_engine_tokens_computed_total 10.0")  # and of two items
    await client.metric_line("localrec_engine_loaded_adapters 1.0")
    size = sum(each.numel() * 4 for each in reference(l2rec_root, "a").parameters())
    await client.metric_line(f"localrec_engine_adapter_bytes {float(size)}")


def changed(l2rec_root: Path, directory: Path, **settings: Any) -> Path:
    """The experts of ``a`` with settings of their file changed."""
    directory.mkdir()
    document = json.loads((experts(l2rec_root, "a") / EXPERTS_CONFIG).read_text())
    (directory / EXPERTS_CONFIG).write_text(json.dumps(document | settings))
    (directory / EXPERTS_WEIGHTS).write_bytes((experts(l2rec_root, "a") / EXPERTS_WEIGHTS).read_bytes())
    return directory


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"user_size": 8}, "user_size is 8, this server's is 16"),
        ({"pooling": "mean"}, "pooling is mean, this server's is last"),
        ({"views": ["semantic"]}, "views is"),
        ({"size": 32}, "size: 32; the decoder's states have 64"),
        ({"rank": 2}, "expected"),
        ({"top_k": 9}, "top_k"),
        ({"experts": "four"}, EXPERTS_CONFIG),
    ],
)
async def test_experts_that_do_not_fit_are_refused(
    l2rec_root: Path, tmp_path: Path, start: Any, settings: dict[str, Any], reason: str
) -> None:
    client = await start(adapter_root=tmp_path)
    path = changed(l2rec_root, tmp_path / "x", **settings)
    status, answer = await client.post("/v1/load_lora_adapter", {"lora_name": "x", "lora_path": str(path)})
    assert status == 400
    assert reason in answer["error"]["message"]
    assert str(path) in answer["error"]["message"]
    assert (await client.post("/v1/embeddings", body("x", PROMPTS[0], USERS[0])))[0] == 404


async def test_names_and_paths_of_experts_are_checked(l2rec_root: Path, tmp_path: Path, start: Any) -> None:
    client = await start()
    await load(client, l2rec_root, "a")
    assert (await load(client, l2rec_root, "a"))[0] == 400
    outside = changed(l2rec_root, tmp_path / "outside")
    for path, status in ((outside, 400), (l2rec_root / "a/nothing", 404), (l2rec_root / "a/checkpoint", 400)):
        asked = {"lora_name": "c", "lora_path": str(path)}
        assert (await client.post("/v1/load_lora_adapter", asked))[0] == status, path


async def test_experts_beyond_the_budget_are_refused_and_others_stay(l2rec_root: Path) -> None:
    one = sum(each.numel() * 4 for each in reference(l2rec_root, "a").parameters())
    small = replace(SETTINGS, adapter_budget_bytes=one)
    model = L2RecModel.load(l2rec_root / "a/checkpoint", experts(l2rec_root, "a"), small)
    settings = EngineSettings("base", l2rec_root / "a/checkpoint", l2rec_root, max_model_tokens=MAX_TOKENS + 1)
    async with running(model, settings) as client:
        await load(client, l2rec_root, "a")
        status, answer = await load(client, l2rec_root, "b")
        assert (status, "budget" in answer["error"]["message"]) == (400, True)
        await vector(client, "a", PROMPTS[0], USERS[0])
        await client.post("/v1/unload_lora_adapter", {"lora_name": "a"})
        assert (await load(client, l2rec_root, "b"))[0] == 200
