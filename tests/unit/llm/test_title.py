import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from support.titles import HISTORY_LENGTH, RANK, TRUNK_LAYERS, TitleFiles, random_titles, write_title_files
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.contract.catalogue import Item
from models.contract.prompts import TitlePrompts, above_words
from models.contract.types import item_numbers
from models.llm.backbone import Backbone, trunk
from models.llm.next_item import NextItemScorer
from models.llm.title import (
    CachedTitleModel,
    FixedHead,
    ItemHead,
    TitleModel,
    compile_head,
    full_model,
    item_rows,
    title_lora,
    title_tokens,
)
from models.types import Sequences

N_ITEMS = 40
HISTORIES = [[], [3], [3, 1, 4], [38, 0, 5, 2, 7]]


@pytest.fixture(scope="module")
def files(backbone_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> TitleFiles:
    return write_title_files(tmp_path_factory.mktemp("title"), backbone_directory, N_ITEMS, ("global", "c00"))


@pytest.fixture(scope="module")
def model(files: TitleFiles) -> TitleModel:
    return TitleModel.load(files.checkpoint, files.adapter("global"))


def scorer(model: TitleModel) -> NextItemScorer:
    return NextItemScorer(model, HISTORY_LENGTH, torch.device("cpu"))


def histories(*rows: list[int]) -> Sequences:
    return Sequences.of([item_numbers(row) for row in rows])


def randomize(model: PeftModel) -> None:
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)


def words(backbone: Backbone, ids: Any) -> list[str]:
    return list(backbone.tokenizer.convert_ids_to_tokens([int(i) for i in ids]))


def test_titles_are_cut_and_end_with_the_separator(backbone: Backbone) -> None:
    items = [Item("a", "red lamp"), Item("b", "blue boat fox drum"), Item("c", brand="rose")]
    titles = title_tokens(backbone, items, max_tokens=3)
    end = "<eos>"  # this tokenizer knows no line break
    assert words(backbone, titles.prompt([0, 1, 2])) == [end, "red", "lamp", end, "blue", "boat", end, "rose", end]
    assert (titles.n_items, titles.longest, titles.n_words) == (3, 3, 15)


@pytest.mark.parametrize("trunk_layers", [1, 2, 3])
def test_layers_above_the_trunk_go_on_where_it_ends(family: Backbone, trunk_layers: int) -> None:
    """Trunk, then top view with its adapter, give what all layers give at once."""
    titles = random_titles(6, 16)
    lora = title_lora(trunk_layers, 4, RANK, 8.0, 0.0)
    adapted = get_peft_model(full_model(family, 4, titles), lora).eval()
    randomize(adapted)
    rows = torch.randn(6, 32)
    compile_head(adapted, rows, titles)
    cached = CachedTitleModel(adapted, trunk_layers, FixedHead(rows), dropout=0.5).eval()
    tokens = torch.from_numpy(titles.prompt([3, 1, 5, 0]).astype(np.int64)).unsqueeze(0)
    where = torch.zeros_like(tokens, dtype=torch.bool)
    where[0, titles.ends([3, 1, 5, 0])] = True
    with torch.inference_mode():
        inputs = trunk(family, trunk_layers)(input_ids=tokens).last_hidden_state
        expected = adapted(input_ids=tokens).logits[0, where[0], titles.n_words :]
        torch.testing.assert_close(cached.logits(inputs, where), expected, atol=1e-4, rtol=1e-4)


def test_adapters_above_the_trunk_do_not_change_what_it_gives(family: Backbone) -> None:
    adapted = get_peft_model(full_model(family, 4, random_titles(6, 16)), title_lora(2, 4, RANK, 8.0, 0.0)).eval()
    randomize(adapted)
    tokens = torch.tensor([[3, 5, 7, 9, 4]])
    states = adapted(input_ids=tokens, output_hidden_states=True).hidden_states
    torch.testing.assert_close(states[2], trunk(family, 2)(input_ids=tokens).last_hidden_state)


def test_adapters_can_leave_projections_out(backbone: Backbone) -> None:
    lora = title_lora(2, 4, RANK, 8.0, 0.0, ("q_proj", "up_proj"))
    adapted = get_peft_model(full_model(backbone, 4, random_titles(6, 15)), lora)
    trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert len(trained) == 2 * 2 * 2  # A and B, two projections, two layers
    assert all(".q_proj." in name or ".up_proj." in name for name in trained)


def test_a_prefix_is_scored_as_if_nothing_followed(model: TitleModel) -> None:
    tokens = torch.tensor([[N_ITEMS, 3, 1, 4]])
    every = model.logits(tokens, torch.ones_like(tokens, dtype=torch.bool))
    for length in range(4):
        alone = torch.from_numpy(scorer(model).scores(histories([3, 1, 4][:length])))
        torch.testing.assert_close(every[length], alone[0], atol=1e-4, rtol=1e-4)


def test_scores_are_those_of_plain_transformers_and_peft_from_the_prompt(model: TitleModel, files: TitleFiles) -> None:
    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(files.checkpoint), str(files.adapter("global"))
    ).eval()
    scores = scorer(model).scores(histories(*HISTORIES))
    prompts = TitlePrompts(files.titles, HISTORY_LENGTH)
    for row, history in enumerate(HISTORIES):
        with torch.inference_mode():
            logits = plain(input_ids=torch.tensor([prompts.prompt(history)])).logits[0, -1].numpy()
        np.testing.assert_allclose(logits[prompts.item_offset :], scores[row], atol=1e-4)
        np.testing.assert_allclose(logits[: prompts.item_offset], scores[row].mean(), atol=1e-4)


def test_words_are_never_above_the_best_items(model: TitleModel) -> None:
    scores = scorer(model).scores(histories(*HISTORIES))
    named = above_words(scores)
    assert (np.isfinite(named).sum(axis=1) > 5).all()
    np.testing.assert_array_equal(named.argmax(axis=1), scores.argmax(axis=1))


def test_only_the_newest_items_are_read(model: TitleModel) -> None:
    long = list(range(20))
    first, second = scorer(model).scores(histories(long, long[-HISTORY_LENGTH:]))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_adapters_give_other_scores_and_the_first_comes_back(model: TitleModel, files: TitleFiles) -> None:
    def scores(name: str) -> Tensor:
        model.use_adapter(name, files.adapter(name))
        return torch.from_numpy(scorer(model).scores(histories(*HISTORIES)))

    before = scores("global")
    assert not torch.allclose(scores("c00"), before, atol=1e-2)
    torch.testing.assert_close(scores("global"), before)


def test_the_checkpoint_is_words_then_items_with_the_backbones_own_tokenizer(
    files: TitleFiles, backbone: Backbone
) -> None:
    tensors = load_file(files.checkpoint / "model.safetensors")
    inputs, head = tensors["model.embed_tokens.weight"], tensors["lm_head.weight"]
    n_words = files.titles.n_words
    assert inputs.shape == head.shape == (n_words + N_ITEMS, 64)
    torch.testing.assert_close(inputs[:n_words], backbone.model.get_input_embeddings().weight)
    assert not inputs[n_words:].any()
    torch.testing.assert_close(head[:n_words], head[n_words:].mean(dim=0).expand(n_words, 64))
    assert AutoTokenizer.from_pretrained(files.checkpoint).get_vocab() == backbone.tokenizer.get_vocab()
    config = json.loads((files.checkpoint / "config.json").read_text())
    assert (config["vocab_size"], config["eos_token_id"]) == (n_words + N_ITEMS, files.titles.start[0])


def test_adapter_files_name_the_top_layers_only(files: TitleFiles) -> None:
    names = load_file(files.adapter("global") / "adapter_model.safetensors")
    assert {name.split(".layers.")[1][0] for name in names} == {"2", "3"}
    assert len(names) == 2 * 7 * 2
    config = json.loads((files.adapter("global") / "adapter_config.json").read_text())
    assert (config["layers_to_transform"], config["r"]) == (list(range(TRUNK_LAYERS, 4)), RANK)


def test_the_head_is_learned_plus_projected_text_and_compiles_to_rows(backbone: Backbone) -> None:
    text, states = torch.randn(N_ITEMS, 6), torch.randn(5, 64)
    head = ItemHead(text, embedding_size=8, hidden_size=64)
    expected = head.learned.weight + text @ head.text_projection.weight.T
    torch.testing.assert_close(head.table(), expected)
    torch.testing.assert_close(head(states), states @ head.rows().T, atol=1e-5, rtol=1e-4)
    assert len(list(head.parameters())) == 3
    titles = random_titles(N_ITEMS, 15)
    adapted = get_peft_model(full_model(backbone, 4, titles), title_lora(2, 4, RANK, 8.0, 0.0))
    compile_head(adapted, head.rows(), titles)
    torch.testing.assert_close(item_rows(adapted, titles), head.rows())
