"""Item vectors from text: the backbone's shallow layers read each item alone, once per catalogue.

This is the intra-item attention of HatLLM's shallow layers: what comes out for an item does not depend on the user.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from models.contract.catalogue import Item
from models.llm.backbone import Backbone, trunk
from models.llm.device import training_device

BATCH_SIZE = 64  # items; small because titles are short and memory is shared
ROUNDING = 1e-6  # of float32 states that went through some layers, relative to their norm


def item_text(item: Item) -> str:
    """An item as one line of text: title, brand, categories, attributes, whichever it has."""
    parts = [item.title or "", item.brand or "", ", ".join(item.categories), *item.attributes.values()]
    return ". ".join(part for part in parts if part) or item.item_id


@torch.inference_mode()
def item_states(backbone: Backbone, texts: Sequence[str], depth: int, max_tokens: int) -> Tensor:
    """Mean hidden state of each text after ``depth`` layers: (n, hidden) float32.

    The first token is left out of the mean: in decoder-only models it is an attention sink, the same for all texts.
    """
    shallow = trunk(backbone, depth).to(training_device())
    starts = tqdm(range(0, len(texts), BATCH_SIZE), "items", unit="batch", leave=False, disable=None)
    return torch.cat([_mean_states(backbone, shallow, texts[s : s + BATCH_SIZE], max_tokens) for s in starts])


def _mean_states(backbone: Backbone, shallow: Any, texts: Sequence[str], max_tokens: int) -> Tensor:
    encoded = backbone.tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=max_tokens)
    tokens, mask = (encoded[name].to(training_device()) for name in ("input_ids", "attention_mask"))
    states = shallow(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state  # (b, tokens, hidden)
    mask[:, 0] = mask.sum(dim=1) == 1  # a text of one token keeps it
    weights = mask.unsqueeze(-1).to(states.dtype)
    pooled: Tensor = (states * weights).sum(dim=1) / weights.sum(dim=1)
    return pooled.cpu()


@dataclass(frozen=True)
class Whitening:
    """Centres and decorrelates item states: ``mean`` (hidden,), ``components`` (hidden, k). Kept for items to come."""

    mean: Tensor
    components: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """(n, hidden) → (n, k) with unit variance in every direction."""
        return (states - self.mean) @ self.components


def fit_whitening(states: Tensor, dimensions: int) -> Whitening:
    """PCA whitening of item states (n, hidden) to at most ``dimensions`` directions.

    Directions in which the states differ by no more than their rounding are left out: scaled up, they would be noise.
    """
    exact = states.double()
    mean = exact.mean(dim=0)
    _, singular, directions = torch.linalg.svd(exact - mean, full_matrices=False)
    k = min(dimensions, int((singular > ROUNDING * exact.norm()).sum()))
    scale = (len(states) ** 0.5) / singular[:k]
    return Whitening(mean.float(), (directions[:k].T * scale).float())
