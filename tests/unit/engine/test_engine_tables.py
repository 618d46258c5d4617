"""Adapters that carry an item table of their own: as PEFT applies them, counted, and refused where they do not fit."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.backbones import write_backbone
from support.checkpoints import projection_shapes, write_adapter
from support.engine import N_ITEMS, START
from support.tables import RANK, TABLE_RANK, write_empty_checkpoint, write_table_adapter
from torch import Tensor, nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3TextScaledWordEmbedding

from models.contract.types import Ints, item_numbers
from models.llm.backbone import load_backbone, top_model
from models.llm.item_token import (
    LORA_TARGETS,
    CatalogueModel,
    ItemTokenModel,
    NextItemModel,
    lora_config,
    prompt_batch,
    save_whole_adapter,
)
from service.engine.adapter_files import CONFIG, WEIGHTS, read_adapter
from service.engine.decoder import EMBEDDING_LEVEL, Embedding
from service.engine.errors import AdapterError
from service.engine.lora import LoraFactors, LoraStack, LoraTarget
from service.engine.model import LanguageModel, ModelSettings, Query
from service.engine.packing import Batch

pytestmark = pytest.mark.engine

SETTINGS = ModelSettings(RANK, TABLE_RANK, adapter_capacity=2, device="cpu", dtype="float32")
TABLES = ("t00", "t01", "t02")
TOLERANCE = 1e-4  # as in test_engine_model
LOWEST = N_ITEMS + 1
A_INPUT = "base_model.model.model.embed_tokens.lora_embedding_A"
B_OUTPUT = "base_model.model.lm_head.lora_B.weight"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with ``checkpoint``, ``t00`` … with tables, ``plain`` without one. Read only."""
    directory = tmp_path_factory.mktemp("tables")
    checkpoint = write_empty_checkpoint(directory / "checkpoint", N_ITEMS)
    for seed, name in enumerate(TABLES, start=1):
        write_table_adapter(directory / name, checkpoint, seed)
    write_adapter(directory / "plain", checkpoint, 9, RANK)
    return directory


@pytest.fixture
def empty(files: Path) -> LanguageModel:
    return LanguageModel.load(files / "checkpoint", SETTINGS)


def load(model: LanguageModel, files: Path, slot: int, name: str) -> None:
    model.adapters.write(slot, read_adapter(files / name, model.adapters.targets()))


def histories() -> list[Ints]:
    rng = np.random.default_rng(3)
    return [item_numbers(rng.integers(0, N_ITEMS, length)) for length in (1, 2, 3, 5, 8, 12, 19, 20)]


def offline_scores(model: NextItemModel, history: Ints) -> np.ndarray:
    with torch.inference_mode():
        return model.logits(*prompt_batch([history], N_ITEMS, 20))[0].numpy()


def test_mixed_batch_equals_peft_for_every_adapter(empty: LanguageModel, files: Path) -> None:
    for slot, name in enumerate(TABLES, start=1):
        load(empty, files, slot, name)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # PEFT uses names that transformers renamed
        peft = CatalogueModel.load(files / "checkpoint", files / TABLES[0])
        asked = [(slot, history) for history in histories() for slot in (2, 1, 3)]
        answers = empty.answer([Query(item_numbers([START, *h]), slot, LOWEST) for slot, h in asked])
        for (slot, history), answer in zip(asked, answers, strict=True):
            peft.use_adapter(TABLES[slot - 1], files / TABLES[slot - 1])
            expected = offline_scores(peft, history)
            items = answer.ranking.items[answer.ranking.items != START]
            assert items.tolist() == np.argsort(-expected, kind="stable").tolist()
            served = answer.ranking.scores[answer.ranking.items != START]
            np.testing.assert_allclose(served - served[0], (expected - expected.max())[items], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("projections", "layers"), [(LORA_TARGETS, None), (("v_proj", "down_proj"), None), (("v_proj", "down_proj"), (1,))]
)
def test_what_training_writes_is_served(
    tmp_path: Path, projections: tuple[str, ...], layers: tuple[int, ...] | None
) -> None:
    """A trainable model, exported with its table in the adapter, ranks on the engine as before the export."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        top = top_model(load_backbone(str(write_backbone(tmp_path / "backbone"))), 2, 4, vocab_size=N_ITEMS + 1)
        lora = lora_config(RANK, 8.0, 0.0, projections, layers)
        model = ItemTokenModel(top, torch.randn(N_ITEMS, 8), TABLE_RANK, 0.0, lora).eval()
        for parameter in (*model.adapter_parameters(), *model.item_parameters()):
            nn.init.normal_(parameter, std=0.2)
    expected = [offline_scores(model, history) for history in histories()]
    save_whole_adapter(model, tmp_path / "adapter")
    adapted = [name.split(".") for name in load_file(tmp_path / "adapter" / WEIGHTS) if ".layers." in name]
    assert {parts[-3] for parts in adapted} == set(projections)
    assert {int(parts[4]) for parts in adapted} == set(layers or (0, 1))
    model.language_model.unload().save_pretrained(str(tmp_path / "checkpoint"))
    engine = LanguageModel.load(tmp_path / "checkpoint", SETTINGS)
    load(engine, tmp_path, 1, "adapter")
    answers = engine.answer([Query(item_numbers([START, *history]), 1, 10) for history in histories()])
    for answer, scores in zip(answers, expected, strict=True):
        items = [item for item in answer.ranking.items.tolist() if item != START]
        assert items == np.argsort(-scores, kind="stable")[: len(items)].tolist()


def test_fan_out_is_the_single_calls(empty: LanguageModel, files: Path) -> None:
    """Adapters with tables of their own and without one, in one batch."""
    for slot, name in enumerate((*TABLES, "plain"), start=1):
        load(empty, files, slot, name)
    queries = [Query(item_numbers([START, *history]), slot, LOWEST) for history in histories() for slot in (4, 0, 2, 1)]
    for query, together in zip(queries, empty.answer(queries), strict=True):
        alone = empty.answer([query])[0]
        np.testing.assert_allclose(together.ranking.scores, alone.ranking.scores, atol=TOLERANCE)
        if query.slot in (1, 2):
            assert together.ranking.items.tolist() == alone.ranking.items.tolist()


def test_bfloat16_ranks_nearly_alike(empty: LanguageModel, files: Path) -> None:
    settings = ModelSettings(RANK, TABLE_RANK, adapter_capacity=2, device="cpu", dtype="bfloat16")
    half = LanguageModel.load(files / "checkpoint", settings)
    for model in (empty, half):
        load(model, files, 1, "t00")
    queries = [Query(item_numbers([START, *history]), 1, 10) for history in histories()]
    for exact, rounded in zip(empty.answer(queries), half.answer(queries), strict=True):
        assert len(set(exact.ranking.items.tolist()) & set(rounded.ranking.items.tolist())) >= 8


def test_adapters_without_a_table_leave_the_vocabulary_alone(empty: LanguageModel, files: Path) -> None:
    load(empty, files, 1, "t00")
    load(empty, files, 2, "plain")
    with_table, without, base = empty.answer([Query(item_numbers([START, 1]), slot, LOWEST) for slot in (1, 2, 0)])
    assert np.ptp(with_table.ranking.scores) > 0
    assert np.ptp(without.ranking.scores) == np.ptp(base.ranking.scores) == 0  # the checkpoint's vocabulary is empty


@pytest.mark.usefixtures("dirty_memory")
def test_table_leaves_the_answers_of_a_plain_adapter_alone(empty: LanguageModel, files: Path) -> None:
    load(empty, files, 1, "plain")
    query = Query(item_numbers([START, 1]), 1, LOWEST)
    before = empty.answer([query])[0]
    load(empty, files, 2, "t00")
    after = empty.answer([query])[0]
    np.testing.assert_allclose(after.state, before.state, atol=TOLERANCE)
    np.testing.assert_allclose(after.ranking.scores, before.ranking.scores, atol=TOLERANCE)


def test_reused_slot_forgets_the_former_table(empty: LanguageModel, files: Path) -> None:
    query = Query(item_numbers([START, 1]), 1, LOWEST)
    load(empty, files, 1, "t00")
    load(empty, files, 1, "plain")
    assert np.ptp(empty.answer([query])[0].ranking.scores) == 0


def bytes_of(shapes: list[tuple[int, int]], rank: int) -> int:
    return sum((n_out + n_in) * rank * 4 for n_out, n_in in shapes)


def test_tables_count_in_the_budget(files: Path) -> None:
    layers = bytes_of(list(projection_shapes(files / "checkpoint").values()), RANK)
    table = bytes_of([(64, N_ITEMS + 1), (N_ITEMS + 1, 64)], TABLE_RANK)
    enough = 2 * (layers + table)  # the base model's slot, and one adapter
    for budget in (enough, enough - 1):
        settings = ModelSettings(RANK, TABLE_RANK, 1, budget, device="cpu", dtype="float32")
        model = LanguageModel.load(files / "checkpoint", settings)
        load(model, files, 1, "plain")
        if budget == enough:
            load(model, files, 1, "t00")
        else:
            with pytest.raises(AdapterError, match=f"would take {enough} bytes, the budget is {budget}"):
                load(model, files, 1, "t00")


@pytest.mark.parametrize(
    ("tensor", "change", "reason"),
    [
        (A_INPUT, lambda t: t[:, :-1], r"lora_A of model.embed_tokens has shape \(12, 50\), expected \(12, 51\)"),
        (A_INPUT, lambda t: t.T, r"lora_A of model.embed_tokens has shape \(51, 12\)"),
        (B_OUTPUT, lambda t: t[:-1], r"lora_B of lm_head has shape \(50, 12\), expected \(51, 12\)"),
        (B_OUTPUT, lambda t: t * torch.inf, "lora_B of lm_head holds values that are no finite numbers"),
        (B_OUTPUT, None, "tensors missing: base_model.model.lm_head.lora_B.weight"),
    ],
)
def test_wrong_table_refused(
    files: Path,
    empty: LanguageModel,
    tmp_path: Path,
    tensor: str,
    change: Callable[[Tensor], Tensor] | None,
    reason: str,
) -> None:
    tensors = load_file(files / "t00" / WEIGHTS)
    former = tensors.pop(tensor)
    save_file(tensors | ({tensor: change(former).contiguous()} if change else {}), tmp_path / WEIGHTS)
    (tmp_path / CONFIG).write_bytes((files / "t00" / CONFIG).read_bytes())
    with pytest.raises(AdapterError, match=reason):
        read_adapter(tmp_path, empty.adapters.targets())


@pytest.mark.parametrize(
    ("table_rank", "reason"),
    [(0, "embed_tokens, which this server's adapters leave alone"), (8, "rank is 12 at .*adapters have rank 8 there")],
)
def test_table_of_another_rank_refused(files: Path, table_rank: int, reason: str) -> None:
    model = LanguageModel.load(files / "checkpoint", ModelSettings(RANK, table_rank, device="cpu", dtype="float32"))
    with pytest.raises(AdapterError, match=reason):
        load(model, files, 1, "t00")


def test_each_module_has_its_own_scale(files: Path, empty: LanguageModel, tmp_path: Path) -> None:
    config = json.loads((files / "t00" / CONFIG).read_text())
    config["alpha_pattern"] = {r"layers\.1\.mlp\.up_proj": 1.0, "up_proj": 12.0, "lm_head": 6.0}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    (tmp_path / WEIGHTS).write_bytes((files / "t00" / WEIGHTS).read_bytes())
    tensors, read = load_file(files / "t00" / WEIGHTS), read_adapter(tmp_path, empty.adapters.targets())
    expected = {
        "lm_head": 6.0 / TABLE_RANK,
        "model.layers.0.mlp.up_proj": 12.0 / RANK,
        "model.layers.1.mlp.up_proj": 1.0 / RANK,  # the first pattern that matches counts
        "model.layers.1.mlp.down_proj": config["lora_alpha"] / RANK,
    }
    for module, scale in expected.items():
        torch.testing.assert_close(read[module].b, tensors[f"base_model.model.{module}.lora_B.weight"] * scale)


def test_embedding_that_is_scaled_scales_what_adapters_add() -> None:
    base = Gemma3TextScaledWordEmbedding(7, 4, padding_idx=0, embed_scale=3.0)
    changed = Gemma3TextScaledWordEmbedding(7, 4, padding_idx=0, embed_scale=3.0)
    a, b = torch.arange(14.0).reshape(2, 7), torch.arange(8.0).reshape(4, 2)
    with torch.inference_mode():
        changed.weight.copy_(base.weight + (b @ a).T)
        stack = LoraStack(LoraTarget(4, 7, 2, is_embedding=True), base.weight, EMBEDDING_LEVEL, gain=3.0)
        stack.a, stack.b = stack.written(1, LoraFactors(a, b), capacity=2)
        tokens = item_numbers([3, 5])
        batch = Batch.of([tokens, tokens], [1, 0], torch.device("cpu"))
        adapted = Embedding(base, stack)(batch, per_call=True)
        own = torch.tensor([3, 5])
        torch.testing.assert_close(adapted, torch.cat([base(own), changed(own)]))  # sorted by slot
