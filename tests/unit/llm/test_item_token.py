import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from models.contract.types import Ints, item_numbers
from models.llm.backbone import Backbone, top_model
from models.llm.item_token import LORA_TARGETS, CatalogueModel, ItemTokenModel, lora_config, prompt_batch, save_adapter
from models.papers.l3rec.files import ADAPTER, CHECKPOINT
from models.papers.l3rec.item_token import _save_model

N_ITEMS = 9
RANK = 4
HISTORIES = [[], [3], [3, 1, 4], [8, 0, 5, 2, 7]]


def new_model(backbone: Backbone, seed: int = 0, layers: Sequence[int] | None = None) -> ItemTokenModel:
    """A model in which every part matters: LoRA's B, zero at first, is drawn too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = torch.randn(N_ITEMS, 6)
        top = top_model(backbone, 2, 4, N_ITEMS + 1)
        model = ItemTokenModel(top, text, 8, dropout=0.3, lora=lora_config(RANK, 8.0, 0.1, layers=layers))
        randomize(model.language_model)
    return model.eval()


def randomize(model: PeftModel) -> None:
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)


@dataclass(frozen=True)
class Exported:
    """A model, and the directory that it was written to."""

    directory: Path
    logits: Tensor  # (len(HISTORIES), N_ITEMS), from before


@pytest.fixture
def model(backbone: Backbone) -> ItemTokenModel:
    return new_model(backbone)


@pytest.fixture(scope="module")
def exported(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model, directory = new_model(backbone), tmp_path_factory.mktemp("exported")
    logits = last_logits(model)
    _save_model(model, directory, table_in_adapter=False)
    return Exported(directory, logits)


@torch.inference_mode()
def last_logits(model: ItemTokenModel | CatalogueModel, histories: list[list[int]] = HISTORIES) -> Tensor:
    tokens, ends = prompt_batch(arrays(histories), N_ITEMS, history_length=20)
    return model.logits(tokens, ends)


def arrays(histories: list[list[int]]) -> list[Ints]:
    return [item_numbers(history) for history in histories]


def load(exported: Exported) -> CatalogueModel:
    return CatalogueModel.load(exported.directory / CHECKPOINT, exported.directory / ADAPTER)


def test_prompts_are_padded_on_the_right_and_end_at_their_last_item() -> None:
    tokens, ends = prompt_batch(arrays([[], [3, 1, 4], [8, 0]]), N_ITEMS, history_length=2)
    assert tokens.tolist() == [[9, 9, 9], [9, 1, 4], [9, 8, 0]]
    assert ends.tolist() == [[True, False, False], [False, False, True], [False, False, True]]


@pytest.mark.parametrize("row", range(len(HISTORIES)))
def test_logits_do_not_depend_on_padding_or_batch(model: ItemTokenModel, row: int) -> None:
    alone = last_logits(model, [HISTORIES[row]])
    torch.testing.assert_close(last_logits(model)[row], alone[0], atol=1e-5, rtol=1e-4)


def test_what_pads_a_prompt_does_not_matter(model: ItemTokenModel) -> None:
    where = torch.tensor([[True, True, False, False]])
    logits = [model.logits(torch.tensor([[N_ITEMS, 3, *padding]]), where) for padding in ([9, 9], [0, 7])]
    torch.testing.assert_close(logits[0], logits[1])


def test_later_items_do_not_change_earlier_positions(model: ItemTokenModel) -> None:
    tokens = torch.tensor([[N_ITEMS, 3, 1, 4]])
    every = model.logits(tokens, torch.ones_like(tokens, dtype=torch.bool))
    for length in range(1, 5):
        prefix = tokens[:, :length]
        torch.testing.assert_close(
            every[:length],
            model.logits(prefix, torch.ones_like(prefix, dtype=torch.bool)),
            atol=1e-5,
            rtol=1e-4,
        )


def test_order_of_the_history_matters(model: ItemTokenModel) -> None:
    first, second = last_logits(model, [[3, 1, 4], [1, 3, 4]])
    assert not torch.allclose(first, second, atol=1e-3)


def test_the_start_token_is_no_item(model: ItemTokenModel, exported: Exported) -> None:
    assert last_logits(model).shape == (len(HISTORIES), N_ITEMS)
    catalogue = load(exported)
    assert catalogue.n_items == model.n_items == N_ITEMS
    assert last_logits(catalogue).shape == (len(HISTORIES), N_ITEMS)


def test_text_and_learned_part_both_count(model: ItemTokenModel) -> None:
    before = last_logits(model)
    model.item_text[3] += 1.0
    by_text = last_logits(model)
    model.learned.weight.data[3] += 1.0
    assert not torch.allclose(by_text[0, 3], before[0, 3], atol=1e-4)
    assert not torch.allclose(last_logits(model)[0, 3], by_text[0, 3], atol=1e-4)


def test_trainable_are_adapter_and_item_table_and_nothing_twice(model: ItemTokenModel) -> None:
    adapter, items = model.adapter_parameters(), model.item_parameters()
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert {id(p) for p in adapter} | {id(p) for p in items} == {id(p) for p in trainable}
    assert len(adapter) + len(items) == len(trainable)
    assert len(adapter) == 2 * len(LORA_TARGETS) * 2  # A and B, two layers
    assert all(RANK in p.shape for p in adapter)


@torch.inference_mode()
def test_layers_below_the_adapted_ones_give_the_same_whatever_the_adapter(backbone: Backbone) -> None:
    inputs = torch.randn(2, 5, 64)
    first, second = (
        new_model(backbone, seed, layers=(1,)).language_model(inputs_embeds=inputs, output_hidden_states=True)
        for seed in (0, 1)
    )
    assert torch.equal(first.hidden_states[1], second.hidden_states[1])
    assert not torch.allclose(first.hidden_states[2], second.hidden_states[2], atol=1e-2)


def test_dropout_works_in_training_only(model: ItemTokenModel) -> None:
    assert torch.equal(last_logits(model), last_logits(model))
    model.train()
    assert not torch.equal(last_logits(model), last_logits(model))


def test_the_exported_model_gives_the_same_logits(exported: Exported) -> None:
    torch.testing.assert_close(last_logits(load(exported)), exported.logits, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_so_do_plain_transformers_and_peft_from_token_ids(exported: Exported) -> None:
    base = AutoModelForCausalLM.from_pretrained(exported.directory / CHECKPOINT)
    plain = PeftModel.from_pretrained(base, str(exported.directory / ADAPTER)).eval()
    for row, history in enumerate(HISTORIES):
        logits = plain(input_ids=torch.tensor([[N_ITEMS, *history]])).logits[0, -1]
        torch.testing.assert_close(logits[:N_ITEMS], exported.logits[row], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(logits[N_ITEMS], logits[N_ITEMS - 1])  # the start token never has a score of its own


def test_without_the_adapter_the_checkpoint_answers_otherwise(exported: Exported) -> None:
    catalogue = load(exported)
    with catalogue.language_model.disable_adapter():
        assert not torch.allclose(last_logits(catalogue), exported.logits, atol=1e-2)


def test_adapter_files_have_the_names_that_vllm_expects(exported: Exported) -> None:
    tensors = load_file(exported.directory / ADAPTER / "adapter_model.safetensors")
    blocks = {"mlp": ("gate_proj", "up_proj", "down_proj"), "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj")}
    assert set(tensors) == {
        f"base_model.model.model.layers.{layer}.{block}.{projection}.lora_{factor}.weight"
        for layer in (0, 1)
        for block, projections in blocks.items()
        for projection in projections
        for factor in "AB"
    }
    config = json.loads((exported.directory / ADAPTER / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["modules_to_save"]) == (RANK, 8.0, None)
    assert sorted(config["target_modules"]) == sorted(LORA_TARGETS)


def test_adapter_files_are_the_same_bytes_every_time(exported: Exported, tmp_path: Path) -> None:
    catalogue = load(exported)
    config = catalogue.language_model.peft_config["default"]
    for name, modules in (("a", LORA_TARGETS), ("b", LORA_TARGETS[::-1])):
        config.target_modules = list(modules)  # PEFT's set has any order
        config.base_model_name_or_path = f"/machine/{name}"
        save_adapter(catalogue.language_model, tmp_path / name)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"]
    assert files[0] == files[1]
    assert set(files[0]) == {"adapter_config.json", "adapter_model.safetensors"}


def test_the_checkpoint_holds_nothing_but_layers_and_vocabulary(exported: Exported) -> None:
    tensors = load_file(exported.directory / CHECKPOINT / "model.safetensors")
    assert not [name for name in tensors if "lora" in name or "base_layer" in name]
    assert tensors["model.embed_tokens.weight"].shape == tensors["lm_head.weight"].shape == (N_ITEMS + 1, 64)
    config = json.loads((exported.directory / CHECKPOINT / "config.json").read_text())
    assert (config["vocab_size"], config["num_hidden_layers"]) == (N_ITEMS + 1, 2)


def test_adapters_are_told_apart_by_their_names_not_by_their_directories(exported: Exported, tmp_path: Path) -> None:
    catalogue = load(exported)
    directories, expected = {}, {}
    for seed, name in enumerate(("c00", "c01")):
        other = load(exported)
        torch.manual_seed(seed)
        randomize(other.language_model)
        directories[name] = tmp_path / name / "adapter"  # the last part of the path is the same
        save_adapter(other.language_model, directories[name])
        expected[name] = last_logits(other)
    assert not torch.allclose(expected["c00"], expected["c01"], atol=1e-2)
    for name in ("c00", "c01", "c00"):
        catalogue.use_adapter(name, directories[name])
        torch.testing.assert_close(last_logits(catalogue), expected[name], atol=1e-5, rtol=1e-4)


def test_only_adapters_of_a_catalogue_model_can_be_trained(exported: Exported) -> None:
    catalogue = CatalogueModel.load(
        exported.directory / CHECKPOINT, exported.directory / ADAPTER, dropout=0.5, trainable=True
    )
    trainable = [name for name, p in catalogue.named_parameters() if p.requires_grad]
    assert len(trainable) == 2 * len(LORA_TARGETS) * 2
    assert all("lora_" in name for name in trainable)
    assert not any(p.requires_grad for p in load(exported).parameters())
    assert torch.equal(last_logits(catalogue), last_logits(catalogue))
    catalogue.train()
    assert not torch.equal(last_logits(catalogue), last_logits(catalogue))


def test_the_compiled_vocabulary_is_the_table_projected(model: ItemTokenModel) -> None:
    model.compile_vocabulary()
    base, table = model.language_model.get_base_model(), model.table()
    inputs, head = base.get_input_embeddings().weight, base.get_output_embeddings().weight
    torch.testing.assert_close(inputs[:N_ITEMS], model.input_projection(table), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(inputs[N_ITEMS], model.input_projection(model.start), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(head[:N_ITEMS], table @ model.output_projection.weight, atol=1e-5, rtol=1e-4)


def test_table_rows_are_text_projected_plus_learned(model: ItemTokenModel) -> None:
    expected = model.learned.weight.detach().numpy() + (
        model.item_text.numpy() @ model.text_projection.weight.detach().numpy().T
    )
    np.testing.assert_allclose(model.table().detach().numpy(), expected, rtol=1e-5, atol=1e-6)
