"""LightGCN (https://arxiv.org/abs/2002.02126) on labelled pairs: spread over the graph of who liked what in training,
trained with binary cross-entropy on the inner products, as CoLLM has it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from models.cf.lightgcn import normalised_adjacency, spread
from models.cf.pointwise.types import CollaborativeModel, Pairs
from models.config import option


@dataclass(frozen=True)
class LightGCNConfig:
    """How LightGCN is built and trained."""

    embedding_size: int = option(64, "Dimensions of users and items", low=1, search=(64, 128, 256))
    layers: int = option(2, "Steps over the graph", low=1, search=(1, 2, 3))
    initial_std: float = option(0.01, "Standard deviation of the initial embeddings", low=0.0, search=(0.01, 0.1))
    learning_rate: float = option(1e-3, "Step size of Adam", low=1e-7, high=1.0, search=(1e-2, 1e-3, 1e-4))
    weight_decay: float = option(1e-5, "L2 penalty", low=0.0, search=(1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7))
    batch_size: int = option(1024, "Pairs in an update", low=1)
    epochs: int = option(100, "Passes over the pairs, at most", low=1)
    patience: int = option(5, "Epochs without a better validation AUC after which training stops", low=1)
    seed: int = option(0, "Seed of initial embeddings and order", low=0)


class LightGCN(CollaborativeModel):
    """See :class:`models.cf.pointwise.types.CollaborativeModel`.

    Args:
        n_users: rows.
        n_items: of the catalogue.
        config: see :class:`LightGCNConfig`.
        liked: (2, n) int64 user rows and item numbers of the pairs that are liked in training: the graph.
    """

    history_length = 0
    liked: Tensor
    graph: Tensor

    def __init__(self, n_users: int, n_items: int, config: LightGCNConfig, liked: Tensor) -> None:
        super().__init__()
        self.embedding_size = config.embedding_size
        self.layers = config.layers
        self.n_users = n_users
        self.register_buffer("liked", liked)
        self.register_buffer("graph", normalised_adjacency(_interactions(liked, n_users, n_items)), persistent=False)
        self.embeddings = nn.Parameter(torch.empty(n_users + n_items, config.embedding_size))
        nn.init.normal_(self.embeddings, std=config.initial_std)

    def represent(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Final embeddings of the pairs' nodes (equation 8)."""
        final = spread(self.embeddings, self.graph, self.layers)
        return F.embedding(pairs.users, final), F.embedding(self.n_users + pairs.items, final)

    def forward(self, pairs: Pairs) -> Tensor:
        """Inner products (equation 5)."""
        user, item = self.represent(pairs)
        return (user * item).sum(dim=-1)


def _interactions(liked: Tensor, n_users: int, n_items: int) -> Any:
    """(n_users, n_items) CSR of ones, each pair once."""
    users, items = liked.cpu().numpy()
    matrix = sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=(n_users, n_items))
    matrix.data[:] = 1.0
    return matrix
