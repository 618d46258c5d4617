"""DIN (Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018) on labelled pairs.

https://arxiv.org/abs/1706.06978. A user's vector is the user's own embedding plus the history's, pooled with weights
that depend on the candidate: CoLLM takes "the sequence representation as a part of the user representation". Both are
summed rather than put side by side, so that the vectors of users and items have one size.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.cf.pointwise.types import CollaborativeModel, Pairs
from models.config import option
from models.data.labelled import LONGEST_HISTORY


@dataclass(frozen=True)
class DINConfig:
    """How DIN is built and trained."""

    embedding_size: int = option(64, "Dimensions of users and items", low=1, search=(64, 128, 256))
    history_length: int = option(10, "Liked items that are read, the newest", low=1, high=LONGEST_HISTORY)
    attention_size: int = option(36, "Hidden size of the attention unit", low=1)
    hidden_sizes: tuple[int, ...] = option((200, 80), "Hidden sizes of the network over a pair", low=1)
    dropout: float = option(
        0.5, "Share of activations dropped while training", low=0.0, high=0.95, search=(0.2, 0.5, 0.8)
    )
    initial_std: float = option(0.05, "Standard deviation of the initial embeddings", low=0.0)
    learning_rate: float = option(1e-3, "Step size of Adam", low=1e-7, high=1.0, search=(1e-2, 1e-3, 1e-4))
    weight_decay: float = option(1e-4, "L2 penalty", low=0.0, search=(1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7))
    batch_size: int = option(1024, "Pairs in an update", low=1)
    epochs: int = option(100, "Passes over the pairs, at most", low=1)
    patience: int = option(3, "Epochs without a better validation AUC after which training stops", low=1)
    seed: int = option(0, "Seed of initial weights, order and dropout", low=0)


class DIN(CollaborativeModel):
    """See :class:`models.cf.pointwise.types.CollaborativeModel`."""

    def __init__(self, n_users: int, n_items: int, config: DINConfig) -> None:
        super().__init__()
        self.embedding_size = config.embedding_size
        self.history_length = config.history_length
        self.users = nn.Embedding(n_users, config.embedding_size)
        self.items = nn.Embedding(n_items + 1, config.embedding_size, padding_idx=n_items)
        self.attention = _AttentionUnit(config.embedding_size, config.attention_size)
        self.interaction = _perceptron(3 * config.embedding_size, config.hidden_sizes, config.dropout)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=config.initial_std)
        with torch.no_grad():
            self.items.weight[n_items] = 0.0

    def represent(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """The user's embedding plus the history's items, weighted (equation 3); and the item's embedding."""
        item, history = self.items(pairs.items), self.items(pairs.histories)
        weights = self.attention(history, item) * (pairs.histories != self.items.padding_idx)
        return self.users(pairs.users) + (weights[..., None] * history).sum(dim=1), item

    def forward(self, pairs: Pairs) -> Tensor:
        """The network over user, item, and their product."""
        user, item = self.represent(pairs)
        logits: Tensor = self.interaction(torch.cat([user, item, user * item], dim=-1))
        return logits[:, 0]


class _AttentionUnit(nn.Module):
    """The local activation unit of section 4.3: how much an item of the history says of the candidate."""

    def __init__(self, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(4 * embedding_size, hidden_size)
        self.activation = nn.PReLU()
        self.out = nn.Linear(hidden_size, 1)

    def forward(self, history: Tensor, item: Tensor) -> Tensor:
        """Weights (b, length), of any size, of a history (b, length, d) for an item (b, d)."""
        candidate = item[:, None].expand_as(history)
        both = torch.cat([history, candidate, history - candidate, history * candidate], dim=-1)
        weights: Tensor = self.out(self.activation(self.hidden(both)))
        return weights[..., 0]


def _perceptron(size: int, hidden_sizes: tuple[int, ...], dropout: float) -> nn.Sequential:
    sizes = (size, *hidden_sizes)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.PReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
