"""The title form of a local language model (docs/internals.md), L3Rec's own: the prompt is text.

A history is the titles of its items, oldest first, each ended by a separator; every layer reads every token. Adapters
sit in the top layers only, so that what comes out of the layers below, the trunk, is the same for all adapters and
epochs and is computed once (``models.llm.trunk_cache``). The state at an item's last token predicts the next item:

    table  = learned + whitened text · P_text          (n_items, d)
    logits = (state · P_out) · tableᵀ                  (n_items,)

After training the product table · P_outᵀ becomes rows of the output head of an ordinary checkpoint, behind the words':
what that means for prompts and answers is told in ``models.contract.prompts``.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from peft import LoraConfig, PeftModel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM

from models.contract.catalogue import Item
from models.contract.prompts import TitleTokens
from models.contract.types import Array
from models.llm.backbone import Backbone, top_model
from models.llm.item_token import LORA_TARGETS, lora_config
from models.llm.items import item_text

SEPARATOR = "\n"


def title_tokens(backbone: Backbone, items: Sequence[Item], max_tokens: int) -> TitleTokens:
    """What each item looks like in a prompt: its title (what else it has where it has none) and the separator.

    Args:
        backbone: whose tokenizer is used.
        items: the catalogue.
        max_tokens: of one item, separator included, at least one.
    """
    tokenizer = backbone.tokenizer
    start = next(i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id, 0) if i is not None)
    separator = tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"] or [start]  # word tokenizers drop blanks
    texts = [item.title or item_text(item) for item in items]
    words = tokenizer(texts, add_special_tokens=False)["input_ids"]
    kept = [[*ids[: max(max_tokens - len(separator), 0)], *separator] for ids in words]
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in kept])]).astype(np.int64)
    n_words = int(backbone.model.get_input_embeddings().weight.shape[0])
    return TitleTokens((start,), offsets, np.asarray([i for ids in kept for i in ids], np.int32), n_words)


def full_model(backbone: Backbone, depth: int, titles: TitleTokens) -> Any:
    """The backbone's first ``depth`` layers with its words and, behind them, the items. Rows of the head are zero."""
    model = top_model(backbone, 0, depth, vocab_size=titles.n_words + titles.n_items)
    words = backbone.model.get_input_embeddings().weight
    with torch.no_grad():
        model.get_input_embeddings().weight[: titles.n_words].copy_(words)
    for config in (model.config, model.generation_config):
        config.bos_token_id = config.eos_token_id = config.pad_token_id = titles.start[0]
    return model


def title_lora(
    first: int, depth: int, rank: int, alpha: float, dropout: float, targets: Sequence[str] = LORA_TARGETS
) -> LoraConfig:
    """Standard LoRA on the ``targets`` among the seven projections of the layers ``first`` … ``depth - 1``."""
    return lora_config(rank, alpha, dropout, targets, range(first, depth))


class ItemHead(nn.Module):
    """The item table as an output head.

    Args:
        item_text: (n_items, k) whitened text vectors.
        embedding_size: d, width of the table.
        hidden_size: width of the states.
    """

    def __init__(self, item_text: Tensor, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        n_items, text_size = item_text.shape
        self.register_buffer("item_text", item_text.clone(), persistent=False)
        self.learned = nn.Embedding(n_items, embedding_size)
        self.text_projection = nn.Linear(text_size, embedding_size, bias=False)
        self.output_projection = nn.Linear(hidden_size, embedding_size, bias=False)
        for weight in (self.learned.weight, self.text_projection.weight):
            nn.init.normal_(weight, std=0.02)

    def table(self) -> Tensor:
        """The item table (n_items, d)."""
        table: Tensor = self.learned.weight + self.text_projection(self.item_text)
        return table

    def forward(self, states: Tensor) -> Tensor:
        """States (m, hidden) to scores (m, n_items)."""
        scores: Tensor = self.output_projection(states) @ self.table().T
        return scores

    @torch.no_grad()
    def rows(self) -> Tensor:
        """(n_items, hidden): the same head without its parts."""
        rows: Tensor = self.table() @ self.output_projection.weight
        return rows


class FixedHead(nn.Module):
    """A head that is not trained: ``rows`` (n_items, hidden)."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        """States (m, hidden) to scores (m, n_items)."""
        return F.linear(states, self.rows)  # type: ignore[arg-type]  # a buffer is a tensor


class CachedTitleModel(nn.Module):
    """The layers above the trunk and a head, over cached trunk states: what adapters are trained in.

    Args:
        language_model: all layers, with an adapter above the trunk.
        trunk_layers: layers whose output is cached.
        head: scores items.
        dropout: share of the predicting states' entries that are dropped in training.
    """

    def __init__(self, language_model: PeftModel, trunk_layers: int, head: nn.Module, dropout: float) -> None:
        super().__init__()
        self.language_model = language_model
        self.head = head
        self.dropout = nn.Dropout(dropout)
        # In a tuple, because its layers are the language model's own, and every parameter has one name only.
        self._top = (_top_view(language_model.get_base_model().model, trunk_layers),)

    def logits(self, inputs: Tensor, where: Tensor) -> Tensor:
        """Scores (m, n_items) at the m tokens where ``where`` (b, tokens) is true.

        ``inputs`` (b, tokens, hidden) are the trunk's states, padded on the right.
        """
        states = self._top[0](inputs_embeds=inputs, use_cache=False).last_hidden_state
        scores: Tensor = self.head(self.dropout(states[where].float()))
        return scores

    def adapter_parameters(self) -> list[nn.Parameter]:
        """LoRA parameters, the only ones that will differ between communities."""
        return [p for p in self.language_model.parameters() if p.requires_grad]


class TitleModel(nn.Module):
    """A compiled checkpoint with adapters, all its layers run on text: what is evaluated, and what workers serve.

    Its tokens are item numbers after a start, as in the item-token form (``models.llm.next_item``); the titles are
    put in here.
    """

    def __init__(self, language_model: PeftModel, titles: TitleTokens) -> None:
        super().__init__()
        self.language_model = language_model
        self.titles = titles

    @classmethod
    def load(cls, checkpoint: Path, adapter: Path) -> Self:
        """Load a checkpoint directory, the title tokens beside it, and one PEFT adapter directory."""
        return cls(load_adapted(checkpoint, adapter, trainable=False), TitleTokens.load(checkpoint.parent)).eval()

    @property
    def n_items(self) -> int:
        return self.titles.n_items

    def use_adapter(self, name: str, directory: Path) -> None:
        """Answer with another adapter from now on; it is read from its PEFT directory where ``name`` is new."""
        if name not in self.language_model.peft_config:
            self.language_model.load_adapter(str(directory), adapter_name=name)
        self.language_model.set_adapter(name)

    def logits(self, tokens: Tensor, where: Tensor) -> Tensor:
        """See :class:`models.llm.next_item.NextItemModel`."""
        input_ids, at = self._as_text(tokens.cpu().numpy(), where.cpu().numpy())
        base = self.language_model.get_base_model()
        states = base.model(input_ids=input_ids.to(tokens.device), use_cache=False).last_hidden_state
        rows = base.get_output_embeddings().weight[self.titles.n_words :]
        return F.linear(states[at.to(tokens.device)].float(), rows)

    def _as_text(self, tokens: Array, where: Array) -> tuple[Tensor, Tensor]:
        """Word tokens of rows of item tokens, and where the states are that ``where`` asks for, both (b, words)."""
        prompts, marks = [], []
        for items, wanted in zip(tokens, where, strict=True):
            history = items[1 : 1 + np.flatnonzero(wanted).max(initial=0)]
            prompt = self.titles.prompt(history)
            mark = np.zeros(len(prompt), np.bool_)
            mark[self.titles.ends(history)] = wanted[: len(history) + 1]
            prompts.append(torch.from_numpy(prompt.astype(np.int64)))
            marks.append(torch.from_numpy(mark))
        return pad_sequence(prompts, batch_first=True), pad_sequence(marks, batch_first=True)


def load_adapted(checkpoint: Path, adapter: Path, *, trainable: bool) -> PeftModel:
    """A checkpoint directory with one PEFT adapter, in float32."""
    base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    return PeftModel.from_pretrained(base, str(adapter), is_trainable=trainable)


def item_rows(language_model: PeftModel, titles: TitleTokens) -> Tensor:
    """(n_items, hidden) rows of the items in a compiled checkpoint's head."""
    rows: Tensor = language_model.get_base_model().get_output_embeddings().weight[titles.n_words :].detach().clone()
    return rows


@torch.no_grad()
def compile_head(language_model: PeftModel, rows: Tensor, titles: TitleTokens) -> None:
    """Write the items' rows (n_items, hidden) into the language model's head, and their mean for every word."""
    weight = language_model.get_base_model().get_output_embeddings().weight
    weight[titles.n_words :].copy_(rows)
    weight[: titles.n_words].copy_(rows.mean(dim=0))


def _top_view(decoder: Any, trunk_layers: int) -> Any:
    """A decoder that runs another one's layers above the trunk and its final norm, on what the trunk gave."""
    view = copy.copy(decoder)
    view._modules = dict(decoder._modules)  # the modules stay the same, their list becomes another
    view.layers = nn.ModuleList(decoder.layers[trunk_layers:])
    view.config = copy.deepcopy(decoder.config)
    view.config.num_hidden_layers -= trunk_layers
    if getattr(view.config, "layer_types", None) is not None:  # models that mix full and sliding-window attention
        view.config.layer_types = list(view.config.layer_types)[trunk_layers:]
    return view
