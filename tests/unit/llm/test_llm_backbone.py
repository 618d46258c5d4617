from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.backbones import HIDDEN, LAYERS
from support.families import SMALL
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from models.contract.errors import ConfigError
from models.llm.backbone import Backbone, load_backbone, top_model, trunk

TOKENS = torch.tensor([[3, 5, 7, 9, 4], [6, 6, 8, 10, 3]])


def hidden_states(backbone: Backbone) -> tuple[torch.Tensor, ...]:
    return backbone.model(input_ids=TOKENS, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_trunk_gives_the_hidden_states_of_its_depth(family: Backbone, depth: int) -> None:
    states = trunk(family, depth)(input_ids=TOKENS).last_hidden_state
    torch.testing.assert_close(states, hidden_states(family)[depth])


def test_trunk_of_all_layers_stops_before_the_final_norm(family: Backbone) -> None:
    states = trunk(family, 4)(input_ids=TOKENS).last_hidden_state
    torch.testing.assert_close(family.model.model.norm(states), hidden_states(family)[4])


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_top_layers_go_on_where_the_trunk_ends(family: Backbone, first: int) -> None:
    states = hidden_states(family)
    top = top_model(family, first, 4, vocab_size=7).eval()
    final = top.model(inputs_embeds=states[first]).last_hidden_state
    torch.testing.assert_close(final, states[4])


def test_middle_layers_end_in_the_final_norm(family: Backbone) -> None:
    states = hidden_states(family)
    top = top_model(family, 1, 3, vocab_size=7).eval()
    final = top.model(inputs_embeds=states[1]).last_hidden_state
    torch.testing.assert_close(final, family.model.model.norm(states[3]))


def test_top_model_has_an_empty_untied_vocabulary(backbone: Backbone) -> None:
    model = top_model(backbone, 2, 4, vocab_size=11)
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert embedding.shape == head.shape == (11, HIDDEN)
    assert not embedding.any()
    assert not head.any()
    assert embedding is not head
    assert not any(p.requires_grad for p in model.parameters())
    assert (model.config.num_hidden_layers, model.config.vocab_size, model.config.tie_word_embeddings) == (2, 11, False)


def test_cutting_leaves_the_backbone_as_it_was(backbone: Backbone) -> None:
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    top = top_model(backbone, 2, 4, vocab_size=5)
    for parameter in top.parameters():
        parameter.data.fill_(1.0)
    trunk(backbone, 2)
    assert all(torch.equal(value, before[name]) for name, value in backbone.model.state_dict().items())
    assert backbone.model.config.vocab_size != 5


@pytest.mark.parametrize(("first", "last"), [(0, 0), (2, 2), (3, 2), (0, LAYERS + 1), (-1, 2), (LAYERS, LAYERS + 1)])
def test_impossible_ranges_of_layers_are_refused(backbone: Backbone, first: int, last: int) -> None:
    with pytest.raises(ConfigError, match=rf"layers {first} to {last}: .*{LAYERS} layers"):
        top_model(backbone, first, last, vocab_size=5)


@pytest.mark.parametrize("depth", [0, -1, LAYERS + 1])
def test_impossible_depths_are_refused(backbone: Backbone, depth: int) -> None:
    with pytest.raises(ConfigError, match="layers 0 to"):
        trunk(backbone, depth)


def test_a_loaded_backbone_is_frozen_and_pads_on_the_right(backbone: Backbone) -> None:
    assert (backbone.hidden_size, backbone.n_layers) == (HIDDEN, LAYERS)
    assert {p.dtype for p in backbone.model.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not backbone.model.training
    assert backbone.tokenizer.pad_token == backbone.tokenizer.eos_token
    assert backbone.tokenizer(["red", "red lamp"], padding=True)["attention_mask"] == [[1, 0], [1, 1]]


def no_such_directory(root: Path) -> Path:
    return root / "nowhere"


def empty_directory(root: Path) -> Path:
    return root


def no_such_gguf(root: Path) -> Path:
    return root / "model.gguf"


def damaged_gguf(root: Path) -> Path:
    path = root / "model.gguf"
    path.write_bytes(b"GGUF and then nothing that makes sense" * 10)
    return path


def unknown_architecture(root: Path) -> Path:
    (root / "config.json").write_text('{"model_type": "abacus"}')
    return root


def damaged_config(root: Path) -> Path:
    (root / "config.json").write_text("{")
    return root


def damaged_weights(root: Path) -> Path:
    LlamaForCausalLM(LlamaConfig(**SMALL)).save_pretrained(root)
    (root / "model.safetensors").write_bytes(b"no weights")
    return root


def no_tokenizer(root: Path) -> Path:
    LlamaForCausalLM(LlamaConfig(**SMALL)).save_pretrained(root)
    return root


@pytest.mark.parametrize(
    "make",
    [
        no_such_directory,
        empty_directory,
        no_such_gguf,
        damaged_gguf,
        unknown_architecture,
        damaged_config,
        damaged_weights,
        no_tokenizer,
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    name = str(make(tmp_path))
    with pytest.raises(ConfigError, match="backbone: ") as raised:
        load_backbone(name)
    assert name in str(raised.value)


def test_a_model_without_llamas_layers_is_refused(tmp_path: Path, backbone: Backbone) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    backbone.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="GPT2LMHeadModel; expected"):
        load_backbone(str(tmp_path))
