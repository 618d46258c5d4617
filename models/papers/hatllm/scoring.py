"""Scores of an exported HatLLM: what the service ranks, item by item."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM

from models.contract.errors import BundleError
from models.contract.hatllm import CONFIG_KEY, ITEM_ROWS, PART, HatLayout
from models.contract.prompts import TitlePrompts, TitleTokens
from models.contract.types import Floats, Ints
from models.papers.hatllm.attention import asked_states, segments_of
from models.training.batching import shortest_first
from models.training.device import training_device
from models.types import Sequences

HISTORY_LENGTH = "history_length"  # beside the layout in config.json: items of a prompt at most
SCORING_BATCH = 32  # prompts


@dataclass(frozen=True)
class HatScorer:
    """An exported model with its adapter, in float32; see ``models.types.Scorer``.

    Args:
        language_model: the checkpoint with the adapter.
        layout: which layer attends how.
        prompts: how it reads histories.
        item_rows: (n_items, hidden) float32.
    """

    language_model: PeftModel
    layout: HatLayout
    prompts: TitlePrompts
    item_rows: Floats

    @classmethod
    def load(cls, part: Path) -> Self:
        """Load the bundle's part in a directory, see :mod:`models.contract.hatllm`. Raises BundleError."""
        titles = TitleTokens.load(part)
        checkpoint = part / "checkpoint"
        try:
            described = json.loads((checkpoint / "config.json").read_text())[CONFIG_KEY]
            history_length, rows = int(described[HISTORY_LENGTH]), np.load(part / ITEM_ROWS, allow_pickle=False)
        except (OSError, KeyError, TypeError, ValueError) as exc:
            raise BundleError(f"{part}: no HatLLM: {exc!r}") from exc
        base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        layout = HatLayout.of_config(described, base.config.num_hidden_layers)
        model = PeftModel.from_pretrained(base, str(part / "adapters" / PART)).to(training_device()).eval()
        return cls(model, layout, TitlePrompts(titles, history_length), rows)

    @property
    def n_items(self) -> int:
        return len(self.item_rows)

    def scores(self, histories: Sequences) -> Floats:
        """(n, n_items) scores of the item after each history."""
        scores = np.empty((len(histories), self.n_items), np.float32)
        for rows in shortest_first(np.diff(histories.offsets), SCORING_BATCH):
            scores[rows] = self.states([histories[row] for row in rows.tolist()]) @ self.item_rows.T
        return scores

    @torch.inference_mode()
    def states(self, histories: Sequence[Ints]) -> Floats:
        """(n, hidden) float32 states of the last tokens of histories' prompts."""
        tokens, where = last_tokens([self.prompts.prompt(history) for history in histories])
        decoder: Any = self.language_model.get_base_model().model
        tokens, where = tokens.to(decoder.device), where.to(decoder.device)
        inputs, found = decoder.embed_tokens(tokens), segments_of(tokens, self.layout)
        states: Floats = asked_states(decoder, inputs, where, found, self.layout).float().cpu().numpy()
        return states

    def base_scores(self, history: Ints) -> Floats:
        """(n_items,) scores of the base model, without the adapter."""
        with self.language_model.disable_adapter():
            scores: Floats = self.states([history])[0] @ self.item_rows.T
        return scores


def last_tokens(prompts: Sequence[Sequence[int] | Ints]) -> tuple[Tensor, Tensor]:
    """Prompts as rows (b, n), padded on the right, and where each one's last token is."""
    rows = [torch.as_tensor(prompt, dtype=torch.int64) for prompt in prompts]
    tokens = pad_sequence(rows, batch_first=True)
    where = torch.zeros(tokens.shape, dtype=torch.bool)
    where[torch.arange(len(rows)), [len(row) - 1 for row in rows]] = True
    return tokens, where
