"""Language models of random weights in the size of real ones, written by the code that writes trained ones.

Speed does not depend on what a model has learned, so that benchmarks need no training. Extra: train.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from safetensors.numpy import load_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from localrec.bench.synthetic import Parts, make_bundle
from models.contract.bundle import CF_MODEL, CHECKPOINT, COMMUNITIES, POPULARITY, Bundle
from models.contract.cf import CFModel
from models.contract.prompts import TitleTokens
from models.contract.specs import ModelSpec
from models.llm.backbone import Backbone
from models.llm.item_token import ItemTokenModel, lora_config, save_adapter, save_whole_adapter
from models.llm.title import compile_head, full_model, title_lora
from models.llm.tokenizer import write_tokenizer
from models.ranking.probing import make_probe
from models.ranking.system import LocalSystem

LORA_STD = 0.05  # of both factors: adapters differ clearly, and logits stay what trained models have
TABLE_STD = 0.3
WORDS = 8_192  # title form: the backbone's vocabulary; SmolLM2 has 49,152, and a word's row is read for its id only
TITLE_TOKENS = 12  # of an item, the separator included


@dataclass(frozen=True)
class Shape:
    """Size of a model. The defaults are layers of SmolLM2-135M and a catalogue like Amazon Beauty's.

    Args:
        n_items: size of the catalogue.
        layers: of the checkpoint.
        adapted_layers: of these the last ones, which carry adapters.
        lora_rank: rank of the adapters on all seven projections.
        embedding_size: width of the item table.
        history_length: items that a prompt holds at most.
        own_tables: whether every adapter carries an item table of its own, on an empty vocabulary.
        hidden_size, heads, key_value_heads, inner_size: of the layers; a head has 64 dimensions.
    """

    n_items: int = 12_000
    layers: int = 1
    adapted_layers: int = 1
    lora_rank: int = 16
    embedding_size: int = 128
    history_length: int = 50
    own_tables: bool = False
    hidden_size: int = 576
    heads: int = 9
    key_value_heads: int = 3
    inner_size: int = 1_536

    @property
    def adapted(self) -> list[int]:
        """Numbers of the layers with adapters."""
        return list(range(self.layers - self.adapted_layers, self.layers))


def random_bundle(
    root: Path,
    shape: Shape,
    *,
    name: str = "random",
    communities: int = 9,
    n_users: int = 200,
    seed: int = 0,
    version: int = 0,
) -> Bundle:
    """A whole bundle below ``root``, users included. Versions have one base model and differ in their adapters."""

    def write_model(parts: Parts) -> ModelSpec:
        drawn = seed * 1_000 + version
        spec = write_item_token_model(parts.directory, shape, parts.adapters, seed=drawn, base_seed=seed)
        make_probe(_system(parts, shape.history_length)).save(parts.directory)
        return spec

    return make_bundle(
        root,
        n_items=shape.n_items,
        n_users=n_users,
        communities=communities,
        seed=seed,
        embedding_size=64,
        name=f"{name}-v{version}",
        write_model=write_model,
    )


def two_versions(
    root: Path, shape: Shape, *, name: str, communities: int, n_users: int, seed: int
) -> tuple[Bundle, Bundle]:
    """Two bundles of the same users that one worker can serve side by side."""
    first, second = (
        random_bundle(root, shape, name=name, communities=communities, n_users=n_users, seed=seed, version=version)
        for version in (0, 1)
    )
    return first, second


def _system(parts: Parts, history_length: int) -> LocalSystem:
    directory = parts.directory
    return LocalSystem(
        cf=CFModel.load(directory / CF_MODEL),
        anchors=load_file(directory / COMMUNITIES)["anchors"],
        bandwidth=1.0,
        kernel="epanechnikov",
        popularity=np.load(directory / POPULARITY, allow_pickle=False),
        checkpoint=directory / CHECKPOINT,
        adapters={name: directory / "adapters" / name for name in parts.adapters},
        history_length=history_length,
    )


def write_item_token_model(
    directory: Path, shape: Shape, adapters: Sequence[str], *, seed: int, base_seed: int = 0
) -> ModelSpec:
    """``checkpoint`` and ``adapters/NAME`` of the item-token form. The same ``base_seed`` gives the same checkpoint."""
    with _seeded(base_seed):
        layers = shape.adapted if shape.adapted_layers < shape.layers else None
        lora = lora_config(shape.lora_rank, 2.0 * shape.lora_rank, 0.0, layers=layers)
        text = torch.randn(shape.n_items, shape.embedding_size)
        model = ItemTokenModel(llama(shape, shape.n_items + 1), text, shape.embedding_size, 0.0, lora)
        nn.init.normal_(model.learned.weight, std=TABLE_STD)
        if shape.own_tables:
            for vocabulary in _vocabularies(model.language_model):
                nn.init.zeros_(vocabulary.weight)
        else:
            model.compile_vocabulary()
    with _seeded(1_000 + seed):
        for name in adapters:
            _draw(model.language_model)
            if shape.own_tables:
                nn.init.normal_(model.learned.weight, std=TABLE_STD)
                save_whole_adapter(model, directory / "adapters" / name)
            else:
                save_adapter(model.language_model, directory / "adapters" / name)
    model.language_model.unload().save_pretrained(str(directory / CHECKPOINT))
    write_tokenizer(directory / CHECKPOINT, shape.n_items)
    table_rank = shape.embedding_size if shape.own_tables else 0
    return ModelSpec(
        "item-token",
        shape.history_length,
        shape.n_items,
        shape.lora_rank,
        tuple(adapters),
        "random",
        table_rank=table_rank,
    )


def write_title_model(directory: Path, shape: Shape, adapters: Sequence[str], *, seed: int) -> TitleTokens:
    """``checkpoint`` and ``adapters/NAME`` of the title form, and what the items' titles are."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, WORDS, shape.n_items * TITLE_TOKENS).astype(np.int32)
    titles = TitleTokens((0,), np.arange(shape.n_items + 1, dtype=np.int64) * TITLE_TOKENS, ids, WORDS)
    with _seeded(seed):
        backbone = Backbone("random", llama(shape, WORDS), None)
        trunk = shape.layers - shape.adapted_layers
        lora = title_lora(trunk, shape.layers, shape.lora_rank, 2.0 * shape.lora_rank, 0.0)
        model: PeftModel = get_peft_model(full_model(backbone, shape.layers, titles), lora)
        compile_head(model, torch.randn(shape.n_items, shape.hidden_size) * TABLE_STD, titles)
        for name in adapters:
            _draw(model)
            save_adapter(model, directory / "adapters" / name)
    model.unload().save_pretrained(str(directory / CHECKPOINT))
    return titles


def llama(shape: Shape, vocabulary_size: int, *, tied: bool = False) -> Any:
    """A frozen causal language model of random weights; with ``tied`` the vocabulary is also the head."""
    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.inner_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=2_048,
        tie_word_embeddings=tied,
        bos_token_id=vocabulary_size - 1,
        eos_token_id=vocabulary_size - 1,
        pad_token_id=vocabulary_size - 1,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def _vocabularies(model: PeftModel) -> tuple[Any, Any]:
    base = model.get_base_model()
    return base.get_input_embeddings(), base.get_output_embeddings()


def _draw(model: PeftModel) -> None:
    for parameter in (p for p in model.parameters() if p.requires_grad):
        nn.init.normal_(parameter, std=LORA_STD)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        yield
