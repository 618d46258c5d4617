"""L2Rec's model in the engine: batches of several experts, lengths, number formats, checkpoints."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.small_l2rec import (
    CONFIG,
    base_vectors,
    experts,
    load_network,
    random_histories,
    random_network,
    random_users,
    reference,
    title_tokens,
    vectors,
    write_l2rec,
)

from models.contract.errors import BundleError
from models.contract.l2rec import CONFIG_KEY
from models.networks.l2rec_files import save_experts
from service.engine.l2rec import L2RecModel, parts_of
from service.engine.model import ModelSettings, Query

pytestmark = pytest.mark.engine

N_ITEMS, N_USERS = 20, 12
TOLERANCE = 1e-5
SETTINGS = ModelSettings(lora_rank=4, device="cpu", dtype="float32")
PROMPTS, USERS = random_histories(N_USERS, N_ITEMS), random_users(N_USERS)


@pytest.fixture
def model(l2rec_root: Path) -> L2RecModel:
    """Without experts."""
    return L2RecModel.load(l2rec_root / "a/checkpoint", experts(l2rec_root, "a"), SETTINGS)


def test_a_history_may_end_inside_an_item(l2rec_root: Path, model: L2RecModel) -> None:
    whole = title_tokens(N_ITEMS).prompt([3, 4])
    prompts = [whole[:length] for length in (4, 5, len(whole) - 1)]
    served = [answer.state for answer in model.answer([Query(prompt) for prompt in prompts])]
    np.testing.assert_allclose(served, base_vectors(reference(l2rec_root, "a"), prompts), atol=TOLERANCE)


def test_experts_of_other_shapes_are_resident_beside(l2rec_root: Path, tmp_path: Path, model: L2RecModel) -> None:
    other = replace(CONFIG, rank=2, experts=2, top_k=1, targets=("q_proj", "v_proj"), personal=False)
    save_experts(random_network(l2rec_root / "a/checkpoint", other, seed=7), tmp_path)
    model.store.prepare(1, experts(l2rec_root, "a"))()
    model.store.prepare(2, tmp_path)()
    queries = [Query(prompt, slot, user=user) for prompt, user in zip(PROMPTS, USERS, strict=True) for slot in (2, 1)]
    served = np.stack([answer.state for answer in model.answer(queries)])
    networks = {0: load_network(l2rec_root / "a/checkpoint", tmp_path), 1: reference(l2rec_root, "a")}
    for first, network in networks.items():
        np.testing.assert_allclose(served[first::2], vectors(network, PROMPTS, USERS), atol=TOLERANCE)


def test_parts_are_of_one_slot_and_of_like_lengths() -> None:
    lengths, slots = [40, 4, 39, 38, 5, 40, 36, 4], [0, 0, 0, 1, 1, 1, 0, 0]
    queries = [Query(np.ones(length, np.int32), slot) for length, slot in zip(lengths, slots, strict=True)]
    assert [sorted(part) for part in parts_of(queries)] == [[0, 2, 6], [1, 7], [3, 5], [4]]


@pytest.mark.parametrize("layout", [None, {"separator": 2}, {"instruction_tokens": -1, "separator": 2}])
def test_a_checkpoint_that_does_not_say_how_prompts_are_read(l2rec_root: Path, tmp_path: Path, layout: Any) -> None:
    write_l2rec(tmp_path, N_ITEMS)
    path = tmp_path / "checkpoint/config.json"
    document = json.loads(path.read_text())
    path.write_text(
        json.dumps(
            {key: value for key, value in document.items() if key != CONFIG_KEY}
            | ({} if layout is None else {CONFIG_KEY: layout})
        )
    )
    with pytest.raises(BundleError, match="l2rec"):
        L2RecModel.load(tmp_path / "checkpoint", experts(l2rec_root, "a"), SETTINGS)


def test_half_precision_is_near(l2rec_root: Path) -> None:
    half = L2RecModel.load(l2rec_root / "a/checkpoint", experts(l2rec_root, "a"), replace(SETTINGS, dtype="bfloat16"))
    half.store.prepare(1, experts(l2rec_root, "a"))()
    queries = [Query(prompt, 1, user=user) for prompt, user in zip(PROMPTS, USERS, strict=True)]
    served = np.stack([answer.state for answer in half.answer(queries)])
    cosines = (served * vectors(reference(l2rec_root, "a"), PROMPTS, USERS)).sum(axis=1)
    assert cosines.min() > 0.98
    assert np.linalg.norm(served, axis=1) == pytest.approx(1, abs=1e-3)
