"""The batched model against PEFT, and against itself one prompt at a time."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import PeftModel
from support.checkpoints import projection_shapes
from support.engine import ADAPTERS, MODEL_SETTINGS, N_ITEMS, RANK, START
from transformers import AutoModelForCausalLM

from models.contract.errors import BundleError
from models.contract.types import item_numbers
from service.engine.adapter_files import read_adapter
from service.engine.errors import AdapterError
from service.engine.model import LanguageModel, ModelSettings, Query, rows
from service.engine.packing import Batch

pytestmark = pytest.mark.engine

TOLERANCE = 1e-4  # log-probabilities of this checkpoint differ by up to 1e-5 between batch shapes


def prompts(n: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [[START, *rng.integers(0, N_ITEMS, length).tolist()] for length in rng.integers(0, 20, n)]


def mixed_batch(n: int) -> list[Query]:
    """Prompts of all lengths, slots 0 to 3 in turn."""
    return [Query(item_numbers(prompt), slot % 4, N_ITEMS) for slot, prompt in enumerate(prompts(n))]


@pytest.fixture(scope="module")
def peft_model(root: Path) -> PeftModel:
    base = AutoModelForCausalLM.from_pretrained(root / "checkpoint", dtype=torch.float32)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # PEFT uses names that transformers renamed
        model = PeftModel.from_pretrained(base, str(root / "adapters" / ADAPTERS[0]), adapter_name=ADAPTERS[0])
        for name in ADAPTERS[1:]:
            model.load_adapter(str(root / "adapters" / name), adapter_name=name)
    return model.eval()


@torch.inference_mode()
def peft_log_probabilities(model: PeftModel, query: Query) -> np.ndarray:
    tokens = torch.from_numpy(query.tokens.astype(np.int64))[None]
    if query.slot == 0:
        with model.disable_adapter():
            logits = model(input_ids=tokens).logits
    else:
        model.set_adapter(ADAPTERS[query.slot - 1])
        logits = model(input_ids=tokens).logits
    return torch.log_softmax(logits[0, -1], dim=-1).numpy()


def test_mixed_batch_equals_peft_for_every_adapter(adapted: LanguageModel, peft_model: PeftModel) -> None:
    batch = mixed_batch(24)
    for query, answer in zip(batch, adapted.answer(batch), strict=True):
        expected = peft_log_probabilities(peft_model, query)
        assert answer.ranking.items.tolist() == np.argsort(-expected, kind="stable")[:N_ITEMS].tolist()
        np.testing.assert_allclose(answer.ranking.scores, expected[answer.ranking.items], atol=TOLERANCE)


def test_adapters_differ(adapted: LanguageModel) -> None:
    tokens = item_numbers([START, 1, 2, 3])
    answers = adapted.answer([Query(tokens, slot, N_ITEMS) for slot in range(4)])
    assert len({tuple(answer.ranking.items.tolist()) for answer in answers}) == 4


def test_answer_does_not_depend_on_the_batch(adapted: LanguageModel) -> None:
    batch = mixed_batch(32)
    for query, together in zip(batch, adapted.answer(batch), strict=True):
        alone = adapted.answer([query])[0]
        assert together.ranking.items.tolist() == alone.ranking.items.tolist()
        np.testing.assert_allclose(together.ranking.scores, alone.ranking.scores, atol=TOLERANCE)
        np.testing.assert_allclose(together.state, alone.state, atol=TOLERANCE)


def test_what_pads_a_prompt_is_not_read(model: LanguageModel) -> None:
    short, long = item_numbers([START, 4]), item_numbers([START, *range(20)])
    alone = model.answer([Query(short, 0, N_ITEMS)])[0]
    padded = model.answer([Query(long, 0, N_ITEMS), Query(short, 0, N_ITEMS)])[1]
    np.testing.assert_allclose(padded.ranking.scores, alone.ranking.scores, atol=TOLERANCE)


def test_each_query_gets_as_many_as_it_asked_for(model: LanguageModel) -> None:
    answers = model.answer([Query(item_numbers([START]), 0, n) for n in (0, 3, 10)])
    assert [len(answer.ranking) for answer in answers] == [0, 3, 10]
    assert answers[1].ranking.items.tolist() == answers[2].ranking.items[:3].tolist()
    assert all(answer.state.shape == (64,) for answer in answers)


def test_bias_acts_before_ranking_and_normalisation(model: LanguageModel) -> None:
    tokens = item_numbers([START, 1])
    plain, other = model.answer([Query(tokens, 0, N_ITEMS)] * 2)
    excluded = plain.ranking.items[:20]
    biases = np.full(20, -100.0, np.float32)
    biased, untouched = model.answer(
        [Query(tokens, 0, N_ITEMS - 20, excluded, biases), Query(item_numbers([START, 1]), 0, N_ITEMS)]
    )
    assert (
        biased.ranking.items.tolist() == [item for item in plain.ranking.items if item not in excluded][: N_ITEMS - 20]
    )
    kept = plain.ranking.scores[20:]
    expected = kept - np.log(np.exp(kept).sum() + np.exp(_last_score(plain.ranking.scores)))
    np.testing.assert_allclose(biased.ranking.scores, expected[: N_ITEMS - 20], atol=1e-3)
    assert untouched.ranking.items.tolist() == other.ranking.items.tolist()


def _last_score(scores: np.ndarray) -> float:
    """Log-probability of the one token of the vocabulary that the ranking leaves out."""
    return float(np.log(max(1.0 - np.exp(scores.astype(np.float64)).sum(), 1e-12)))


def test_growing_the_stacks_keeps_what_is_there(model: LanguageModel, root: Path) -> None:
    weights = read_adapter(root / "adapters" / "c00", model.adapters.targets())
    query = Query(item_numbers([START, 7]), 1, 10)
    model.adapters.write(1, weights)
    before = model.answer([query])[0]
    model.adapters.write(9, read_adapter(root / "adapters" / "c01", model.adapters.targets()))
    after = model.answer([query])[0]
    np.testing.assert_array_equal(before.ranking.scores, after.ranking.scores)


def test_a_reused_slot_forgets_the_former_adapter(model: LanguageModel, root: Path) -> None:
    weights = read_adapter(root / "adapters" / "c00", model.adapters.targets())
    one_layer = {name: factors for name, factors in weights.items() if ".1.mlp.down_proj" in name}
    query = Query(item_numbers([START, 7]), 1, 10)
    model.adapters.write(1, one_layer)
    expected = model.answer([query])[0]
    model.adapters.write(1, weights)
    model.adapters.write(1, one_layer)
    np.testing.assert_array_equal(model.answer([query])[0].ranking.scores, expected.ranking.scores)


@pytest.mark.usefixtures("dirty_memory")
def test_wider_adapter_leaves_the_answers_of_a_narrow_one_alone(root: Path, model: LanguageModel) -> None:
    weights = read_adapter(root / "adapters" / "c00", model.adapters.targets())
    model.adapters.write(1, {name: own for name, own in weights.items() if name.endswith(("q_proj", "v_proj"))})
    queries = [Query(item_numbers(prompt), 1, 10) for prompt in prompts(4)]
    before = model.answer(queries)
    model.adapters.write(2, weights)
    for expected, got in zip(before, model.answer(queries), strict=True):
        np.testing.assert_allclose(got.ranking.scores, expected.ranking.scores, atol=TOLERANCE)
        assert got.ranking.items.tolist() == expected.ranking.items.tolist()


def test_budget_refuses_an_adapter_and_changes_nothing(root: Path) -> None:
    shapes_bytes = sum((n_out + n_in) * RANK * 4 for n_out, n_in in projection_shapes(root / "checkpoint").values())
    settings = ModelSettings(
        RANK, adapter_capacity=1, adapter_budget_bytes=2 * shapes_bytes, device="cpu", dtype="float32"
    )
    model = LanguageModel.load(root / "checkpoint", settings)  # room for the base model's slot and one adapter
    weights = read_adapter(root / "adapters" / "c00", model.adapters.targets())
    model.adapters.write(1, weights)
    query = Query(item_numbers([START, 7]), 1, 10)
    before = model.answer([query])[0]
    with pytest.raises(AdapterError, match=f"the budget is {2 * shapes_bytes}"):
        model.adapters.write(2, weights)
    np.testing.assert_array_equal(model.answer([query])[0].ranking.scores, before.ranking.scores)


def test_bfloat16_ranks_nearly_alike(root: Path, model: LanguageModel) -> None:
    half = LanguageModel.load(root / "checkpoint", ModelSettings(RANK, device="cpu", dtype="bfloat16"))
    query = Query(item_numbers([START, 1, 2]), 0, 10)
    exact, rounded = model.answer([query])[0].ranking, half.answer([query])[0].ranking
    assert rounded.scores.dtype == np.float32
    assert len(set(exact.items.tolist()) & set(rounded.items.tolist())) >= 8


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=str(tmp_path)):
        LanguageModel.load(tmp_path, MODEL_SETTINGS)


def test_rows_of_a_fan_out() -> None:
    assert rows([Query(item_numbers([START, 1, 2]), slot) for slot in (0, 1)]) == 9  # the prompt's, and two calls'


def test_warm_up_answers_one_and_many_prompts(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, int]] = []
    states = model._decoder.states

    def seen(batch: Batch, lowest: int | None) -> torch.Tensor:
        shapes.append((len(batch.prompts), batch.prompts.longest))
        return states(batch, lowest)

    monkeypatch.setattr(model, "_decoder", SimpleNamespace(states=seen, layout=None))
    model.warm_up(n_tokens=21, n_queries=64)
    assert shapes == [(1, 21), (64, 21)]
