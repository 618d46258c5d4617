"""SASRec (Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018): the baseline to beat.

https://arxiv.org/abs/1808.09781. Two departures that make it stronger than the paper's: the loss is cross-entropy over
the full catalogue instead of one negative a position, and blocks normalise before each layer. Histories longer than the
window are cut into windows at places that change with every epoch, so that every interaction trains. Given text vectors
of the items, an item's embedding is a learned vector plus a projection of its text: a stronger baseline on sparse data.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.cf.training import Progress, seeded, silent
from models.cf.windows import NextItemNetwork, NextItemScorer, train_network
from models.config import option
from models.contract.errors import ConfigError
from models.contract.types import Floats
from models.types import Examples, Sequences


@dataclass(frozen=True)
class SASRecConfig:
    """How SASRec is built and trained. Raises ConfigError where the heads do not divide the embedding size."""

    embedding_size: int = option(128, "Dimensions of item embeddings and states", low=1, search=(64, 128, 256))
    layers: int = option(2, "Self-attention blocks", low=1, search=(1, 2, 3))
    heads: int = option(1, "Attention heads; they divide the embedding size", low=1)
    history_length: int = option(50, "Items in a window, the newest when scoring", low=1)
    dropout: float = option(
        0.4, "Share of activations dropped while training", low=0.0, high=0.95, search=(0.3, 0.4, 0.5, 0.6)
    )
    learning_rate: float = option(1e-3, "Step size of Adam", low=1e-7, high=1.0, search=(5e-4, 1e-3, 2e-3))
    weight_decay: float = option(0.0, "Decoupled weight decay", low=0.0, search=(0.0, 0.1, 0.5))
    batch_size: int = option(64, "Windows in an update", low=1, search=(64, 128, 256))
    epochs: int = option(100, "Passes over the interactions, at most", low=1)
    patience: int = option(10, "Epochs without a better validation NDCG@10 after which training stops", low=1)
    seed: int = option(0, "Seed of initial weights, order, windows and dropout", low=0)

    def __post_init__(self) -> None:
        if self.embedding_size % self.heads:
            raise ConfigError(f"heads: {self.heads}; expected a divisor of embedding_size, {self.embedding_size}")


def train_sasrec(
    train: Sequences,
    valid: Examples,
    n_items: int,
    config: SASRecConfig,
    progress: Progress = silent,
    *,
    item_text: Floats | None = None,
) -> NextItemScorer:
    """Train on the users' sequences, stop early on the validation examples. The same seed gives the same model.

    Args:
        train: item numbers of every user, oldest first.
        valid: what decides when to stop.
        n_items: size of the catalogue.
        config: see :class:`SASRecConfig`.
        progress: told of every epoch.
        item_text: (n_items, k) whitened text vectors; None trains on item numbers alone.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    with seeded(config.seed):
        network = SASRec(n_items, config, item_text)
        return train_network(network, train, valid, config, progress, betas=(0.9, 0.98))


class SASRec(NextItemNetwork):
    """Items in, states out; a state's inner products with the (tied) item embeddings are the scores of the next item.

    Number ``n_items`` is the start token, which stands before the first item and after the last one as padding:
    attention is causal, so padding behind a sequence changes nothing in it.
    """

    def __init__(self, n_items: int, config: SASRecConfig, item_text: Floats | None = None) -> None:
        super().__init__()
        self.n_items = n_items
        self.history_length = config.history_length
        self.items = nn.Embedding(n_items + 1, config.embedding_size)
        self.positions = nn.Embedding(config.history_length, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([_Block(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.embedding_size)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.text = None if item_text is None else _TextEmbedding(item_text, config.embedding_size)

    def forward(self, items: Tensor) -> Tensor:
        """States (n, length, d) of item numbers (n, length) int64, at most ``history_length`` long."""
        positions = torch.arange(items.shape[1], device=items.device)
        x = F.embedding(items, self.table()) * self.items.embedding_dim**0.5 + self.positions(positions)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        normalised: Tensor = self.norm(x)
        return normalised

    def logits(self, states: Tensor) -> Tensor:
        """Scores (…, n_items) of the next item for states (…, d), equation 7."""
        return states @ self.table()[: self.n_items].T

    def table(self) -> Tensor:
        """Embeddings (n_items + 1, d) of the items and the start token."""
        learned: Tensor = self.items.weight
        return learned if self.text is None else learned + self.text()


class _TextEmbedding(nn.Module):
    """What an item's text adds to its embedding: (n_items + 1, d), nothing for the start token."""

    def __init__(self, item_text: Floats, embedding_size: int) -> None:
        super().__init__()
        text = torch.from_numpy(np.concatenate([item_text, np.zeros_like(item_text[:1])]))
        self.register_buffer("text", text, persistent=False)
        self.projection = nn.Linear(text.shape[1], embedding_size, bias=False)
        nn.init.normal_(self.projection.weight, std=0.02)

    def forward(self) -> Tensor:
        projected: Tensor = self.projection(self.text)
        return projected


class _Block(nn.Module):
    """Section 3.2: causal self-attention, then a pointwise network, each normalised before and added to its input."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        d = config.embedding_size
        self.heads = config.heads
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.pointwise_norm = nn.LayerNorm(d)
        self.pointwise = nn.Sequential(
            nn.Linear(d, d), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(d, d), nn.Dropout(config.dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + F.dropout(self._attend(self.attention_norm(x)), self.dropout, self.training)
        added: Tensor = x + self.pointwise(self.pointwise_norm(x))
        return added

    def _attend(self, x: Tensor) -> Tensor:
        n, length, d = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, dropout_p=self.dropout if self.training else 0.0
        )
        merged: Tensor = self.out(attended.transpose(1, 2).reshape(n, length, d))
        return merged
