"""Item vectors from text: the backbone's shallow layers, or a sentence encoder, read each item alone, once.

The former is the intra-item attention of HatLLM's shallow layers: what comes out for an item does not depend on the
user.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm
from transformers import AutoConfig, AutoModel, AutoTokenizer

from models.contract.catalogue import Item
from models.contract.errors import ConfigError
from models.fetch import model_path
from models.llm.backbone import Backbone, trunk
from models.training.device import training_device

BATCH_SIZE = 64  # items; small because titles are short and memory is shared
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
ROUNDING = 1e-6  # of float32 states that went through some layers, relative to their norm


def item_text(item: Item) -> str:
    """An item as one line of text: title, brand, categories, attributes, whichever it has."""
    parts = [item.title or "", item.brand or "", ", ".join(item.categories), *item.attributes.values()]
    return ". ".join(part for part in parts if part) or item.item_id


def one_line(text: str) -> str:
    """A text without newlines and control characters."""
    return _BLANKS.sub(" ", text).strip()


def item_states(backbone: Backbone, texts: Sequence[str], depth: int, max_tokens: int) -> Tensor:
    """Mean hidden state of each text after ``depth`` layers: (n, hidden) float32.

    The first token is left out of the mean: in decoder-only models it is an attention sink, the same for all texts.
    """
    shallow = trunk(backbone, depth).to(training_device())

    def read(texts: list[str]) -> Tensor:
        encoded = _encode(backbone.tokenizer, texts, max_tokens)
        states = shallow(**encoded, use_cache=False).last_hidden_state  # (b, tokens, hidden)
        mask = encoded["attention_mask"]
        mask[:, 0] = mask.sum(dim=1) == 1  # a text of one token keeps it
        return _mean(states, mask)

    return _read_all(texts, read)


def check_encoder(encoder: str) -> None:
    """Check that a sentence encoder is there, by its configuration alone. Raises ConfigError where it is not."""
    try:
        AutoConfig.from_pretrained(model_path(encoder))
    except (OSError, ValueError) as exc:
        raise ConfigError(_no_encoder(encoder, exc)) from exc


def sentence_states(encoder: str, texts: Sequence[str], max_tokens: int) -> Tensor:
    """Mean last hidden state of each text under a sentence encoder: (n, hidden) float32.

    Args:
        encoder: hub id, directory, or name of a carried model: an encoder whose sentences are means over tokens, such
            as all-MiniLM-L6-v2.
        texts: to be read.
        max_tokens: of a text that are read, at most.

    Raises:
        ConfigError: nothing loadable is found there.
    """
    try:
        source = model_path(encoder)
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModel.from_pretrained(source, dtype=torch.float32).to(training_device()).eval()
    except (OSError, ValueError, SafetensorError) as exc:
        raise ConfigError(_no_encoder(encoder, exc)) from exc

    def read(texts: list[str]) -> Tensor:
        encoded = _encode(tokenizer, texts, max_tokens)
        return _mean(model(**encoded).last_hidden_state, encoded["attention_mask"])

    return _read_all(texts, read)


def _no_encoder(encoder: str, reason: Exception) -> str:
    return f"text_encoder: {encoder!r} is no hub id or directory that loads: {reason}"


@torch.inference_mode()
def _read_all(texts: Sequence[str], read: Callable[[list[str]], Tensor]) -> Tensor:
    """(n, hidden), read in batches of texts of about the same length, so that little is padding."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    starts = tqdm(range(0, len(order), BATCH_SIZE), "items", unit="batch", leave=False, disable=None)
    states = torch.cat([read([texts[row] for row in order[s : s + BATCH_SIZE]]).cpu() for s in starts])
    return states[torch.argsort(torch.tensor(order))]


def _encode(tokenizer: Any, texts: list[str], max_tokens: int) -> dict[str, Tensor]:
    encoded = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=max_tokens)
    return {name: encoded[name].to(training_device()) for name in ("input_ids", "attention_mask")}


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens (b, tokens, hidden) that the mask (b, tokens) leaves."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    pooled: Tensor = (states * weights).sum(dim=1) / weights.sum(dim=1)
    return pooled


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
