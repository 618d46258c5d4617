"""The item-token form of a local language model (docs/internals.md): one token per item of history.

The top layers of the backbone, with LoRA, run over one vector per item and predict the next item at every position.
One table holds an item's vector, at the input and at the output:

    table  = learned + whitened text · P_text          (n_items, d)
    input  = [table; start] · P_in                     (n_items + 1, hidden)
    logits = (state · P_out) · tableᵀ                  (n_items,)

Text gives items that are rarely seen a place; the learned part adds the collaborative signal that text lacks. After
training both products are written out, and what is left is an ordinary checkpoint whose vocabulary is the catalogue.
As both have rank d, they can just as well be written as LoRA on a vocabulary of zeros: then every adapter carries an
item table of its own, and models that share nothing but the backbone's layers are served side by side.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from models.contract.prompts import item_prompt, start_token
from models.contract.types import Ints

EMBEDDING, HEAD = "embed_tokens", "lm_head"  # as the backbones that PEFT and vLLM know name their vocabulary
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# The projections of a layer, as the backbones name them: what adapters can change.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class NextItemModel(Protocol):
    """What the next-item task trains and the evaluation scores with."""

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        ...

    def logits(self, tokens: Tensor, where: Tensor) -> Tensor:
        """Scores (m, n_items) at the m positions where ``where`` (b, length) is true.

        ``tokens`` (b, length) are token ids, padded on the right: attention is causal, so no position that counts sees
        the padding, and no mask is needed.
        """
        ...


class CatalogueModel(nn.Module):
    """A compiled checkpoint, its vocabulary the catalogue, with LoRA adapters. Only the adapters can be trained."""

    def __init__(self, language_model: PeftModel, dropout: float = 0.0) -> None:
        super().__init__()
        self.language_model = language_model
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def load(cls, checkpoint: Path, adapter: Path, dropout: float = 0.0, trainable: bool = False) -> Self:
        """Load a checkpoint directory and one PEFT adapter directory."""
        base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        model = PeftModel.from_pretrained(base, str(adapter), is_trainable=trainable)
        return cls(model, dropout).eval()

    @property
    def n_items(self) -> int:
        return int(self.language_model.get_base_model().config.vocab_size) - 1

    def use_adapter(self, name: str, directory: Path) -> None:
        """Answer with another adapter from now on; it is read from its PEFT directory where ``name`` is new."""
        if name not in self.language_model.peft_config:
            self.language_model.load_adapter(str(directory), adapter_name=name)
        self.language_model.set_adapter(name)

    def logits(self, tokens: Tensor, where: Tensor) -> Tensor:
        """See :class:`NextItemModel`."""
        base = self.language_model.get_base_model()
        inputs = self.dropout(base.get_input_embeddings()(tokens))
        states = _final_states(base, inputs)[where].float()
        scores: Tensor = base.get_output_embeddings()(states)
        return scores[:, : self.n_items]


class ItemTokenModel(nn.Module):
    """The trainable item-token model: adapter and item table.

    Args:
        causal_model: the backbone's top layers with a vocabulary of n_items + 1, see ``backbone.top_model``.
        item_text: (n_items, k) whitened text vectors.
        embedding_size: d, width of the item table.
        dropout: share of the input vectors' entries that are dropped in training.
        lora: rank, alpha and dropout of the adapter.
    """

    def __init__(
        self, causal_model: Any, item_text: Tensor, embedding_size: int, dropout: float, lora: LoraConfig
    ) -> None:
        super().__init__()
        hidden = int(causal_model.config.hidden_size)
        n_items, text_size = item_text.shape
        self.language_model: PeftModel = get_peft_model(causal_model, lora)
        self.register_buffer("item_text", item_text.clone(), persistent=False)
        self.learned = nn.Embedding(n_items, embedding_size)
        self.text_projection = nn.Linear(text_size, embedding_size, bias=False)
        self.input_projection = nn.Linear(embedding_size, hidden, bias=False)
        self.output_projection = nn.Linear(hidden, embedding_size, bias=False)
        self.start = nn.Parameter(torch.empty(embedding_size))
        self.dropout = nn.Dropout(dropout)
        for weight in (self.learned.weight, self.text_projection.weight, self.start):
            nn.init.normal_(weight, std=0.02)

    @property
    def n_items(self) -> int:
        return self.learned.num_embeddings

    def table(self) -> Tensor:
        """The item table (n_items, d)."""
        table: Tensor = self.learned.weight + self.text_projection(self.item_text)
        return table

    def input_vectors(self, table: Tensor) -> Tensor:
        """What each token id looks like to the layers: (n_items + 1, hidden), the start token last."""
        vectors: Tensor = self.input_projection(torch.cat([table, self.start.unsqueeze(0)]))
        return vectors

    def logits(self, tokens: Tensor, where: Tensor) -> Tensor:
        """See :class:`NextItemModel`."""
        table = self.table()
        # Not by indexing, whose gradient is summed in whatever order the threads come: a seed must give one model.
        inputs = self.dropout(F.embedding(tokens, self.input_vectors(table)))
        states = _final_states(self.language_model.get_base_model(), inputs)[where].float()
        scores: Tensor = self.output_projection(states) @ table.T
        return scores

    def adapter_parameters(self) -> list[nn.Parameter]:
        """LoRA parameters, the only ones that will differ between communities."""
        return [p for p in self.language_model.parameters() if p.requires_grad]

    def item_parameters(self) -> list[nn.Parameter]:
        """What all communities share: the item table, its projections, and the start token."""
        modules = (self.learned, self.text_projection, self.input_projection, self.output_projection)
        return [self.start, *(p for module in modules for p in module.parameters())]

    @torch.no_grad()
    def vocabulary(self) -> "Vocabulary":
        """The compiled input embedding and output head, as products."""
        table = self.table()
        embedding = self.language_model.get_base_model().get_input_embeddings()
        scale = getattr(embedding, "embed_scale", 1.0)  # Gemma multiplies its embeddings on the way in
        return Vocabulary(
            input_rows=torch.cat([table, self.start.unsqueeze(0)]),
            input_projection=self.input_projection.weight / scale,
            head_rows=torch.cat([table, table[-1:]]),
            head_projection=self.output_projection.weight,
        )

    @torch.no_grad()
    def compile_vocabulary(self) -> None:
        """Write the item vectors into the language model's own input embedding and output head."""
        base, vocabulary = self.language_model.get_base_model(), self.vocabulary()
        base.get_input_embeddings().weight.copy_(vocabulary.input_rows @ vocabulary.input_projection.T)
        base.get_output_embeddings().weight.copy_(vocabulary.head_rows @ vocabulary.head_projection)


@dataclass(frozen=True)
class Vocabulary:
    """Input embedding and output head as products of rank d, one row a token id.

    The head's row of the start token, which is no item, repeats the last item's: it never gets a score of its own, and
    readers drop ids that are no items.

    Args:
        input_rows: (n_items + 1, d), the start token last.
        input_projection: (hidden, d).
        head_rows: (n_items + 1, d).
        head_projection: (d, hidden).
    """

    input_rows: Tensor
    input_projection: Tensor
    head_rows: Tensor
    head_projection: Tensor


def lora_config(
    rank: int,
    alpha: float,
    dropout: float,
    targets: Sequence[str] = LORA_TARGETS,
    layers: Sequence[int] | None = None,
) -> LoraConfig:
    """Standard LoRA on the ``targets`` among a layer's seven projections, as vLLM serves it.

    ``layers`` are the numbers, in the model that is adapted, of those that carry it; None: all of them.
    """
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(targets),
        layers_to_transform=None if layers is None else list(layers),
        task_type="CAUSAL_LM",
    )


def save_adapter(model: PeftModel, directory: Path) -> None:
    """Write the active adapter as PEFT does, but the same bytes on every machine and every time.

    PEFT notes where the base model came from, and the adapted modules in the order of a set.
    """
    model.save_pretrained(str(directory), save_embedding_layers=False)
    config = json.loads((directory / ADAPTER_CONFIG).read_text())
    config |= {"base_model_name_or_path": None, "target_modules": sorted(config["target_modules"])}
    _write_config(directory, config)
    (directory / "README.md").unlink()  # PEFT's empty form of a model card, with the same path in it


def save_whole_adapter(model: ItemTokenModel, directory: Path) -> None:
    """Write the adapter with the model's item table in it, as LoRA of rank d on a vocabulary of zeros.

    ``r`` and ``lora_alpha`` are those of the table, ``rank_pattern`` and ``alpha_pattern`` give the layers theirs; the
    scale α / r is one number for all, because not every server knows the patterns. Where some layers only are adapted,
    their modules are named in full: ``layers_to_transform`` asks every target for its layer, and the vocabulary has
    none.
    """
    save_adapter(model.language_model, directory)
    config = json.loads((directory / ADAPTER_CONFIG).read_text())
    vocabulary, projections = model.vocabulary(), config["target_modules"]
    rank, scale = int(vocabulary.head_rows.shape[1]), config["lora_alpha"] / config["r"]
    of_layers = load_file(directory / ADAPTER_WEIGHTS)
    tensors = of_layers | {
        f"base_model.model.model.{EMBEDDING}.lora_embedding_A": vocabulary.input_rows.T,
        f"base_model.model.model.{EMBEDDING}.lora_embedding_B": vocabulary.input_projection / scale,
        f"base_model.model.{HEAD}.lora_A.weight": vocabulary.head_projection,
        f"base_model.model.{HEAD}.lora_B.weight": vocabulary.head_rows / scale,
    }
    save_file({name: value.contiguous() for name, value in tensors.items()}, directory / ADAPTER_WEIGHTS)
    patterns = {
        "rank_pattern": dict.fromkeys(projections, config["r"]),
        "alpha_pattern": dict.fromkeys(projections, config["lora_alpha"]),
    }
    modules = projections if config["layers_to_transform"] is None else _modules(of_layers)
    whole = {
        "r": rank,
        "lora_alpha": rank * scale,
        "target_modules": sorted([*modules, EMBEDDING, HEAD]),
        "layers_to_transform": None,
    }
    _write_config(directory, config | patterns | whole)


def prompt_batch(histories: Sequence[Ints], n_items: int, history_length: int) -> tuple[Tensor, Tensor]:
    """Prompts of some histories, padded on the right: token ids, and where each prompt ends, both (b, length)."""
    prompts = [item_prompt(history, n_items, history_length) for history in histories]
    tokens = torch.full((len(prompts), max(map(len, prompts))), start_token(n_items))
    ends = torch.zeros_like(tokens, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
        ends[row, len(prompt) - 1] = True
    return tokens, ends


def _modules(tensors: Iterable[str]) -> set[str]:
    """Full names of the modules that an adapter's tensors belong to: ``model.layers.2.mlp.up_proj``."""
    return {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in tensors}


def _write_config(directory: Path, config: dict[str, Any]) -> None:
    (directory / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _final_states(causal_model: Any, inputs: Tensor) -> Tensor:
    """(b, length, hidden) states after the final norm, from input vectors (b, length, hidden)."""
    states: Tensor = causal_model.model(inputs_embeds=inputs, use_cache=False).last_hidden_state
    return states
