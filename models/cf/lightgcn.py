"""LightGCN (He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020).

https://arxiv.org/abs/2002.02126. Users are known by their row: what a user did after training changes nothing.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from models.cf.matrix import interaction_matrix
from models.cf.mf_bpr import MFScorer
from models.cf.training import Progress, fit, seeded, silent
from models.config import option
from models.evaluation.metrics import mean_ndcg
from models.training.divergence import check_loss
from models.types import Examples, Sequences


@dataclass(frozen=True)
class LightGCNConfig:
    """How LightGCN is built and trained."""

    embedding_size: int = option(64, "Dimensions of users and items", low=1, search=(64, 128))
    layers: int = option(3, "Steps over the graph", low=1, search=(1, 2, 3, 4))
    learning_rate: float = option(5e-3, "Step size of Adam", low=1e-7, high=1.0, search=(1e-3, 2e-3, 5e-3, 1e-2))
    reg: float = option(1e-4, "L2 penalty on a pair's own embeddings", low=0.0, search=(0.0, 1e-5, 1e-4, 1e-3, 1e-2))
    batch_size: int = option(4096, "Pairs in an update", low=1)
    passes: int = option(5, "Passes over the interactions in an epoch; after an epoch, validation is looked at", low=1)
    epochs: int = option(40, "Epochs at most", low=1)
    patience: int = option(3, "Epochs without a better validation NDCG@10 after which training stops", low=1)
    seed: int = option(0, "Seed of initial embeddings, order and sampling", low=0)


def train_lightgcn(
    train: Sequences, valid: Examples, n_items: int, config: LightGCNConfig, progress: Progress = silent
) -> MFScorer:
    """Train on pairs of an item met and one not met, stop early on the validation examples.

    The same seed gives the same model.

    Args:
        train: item numbers of every user; order and repetition do not matter.
        valid: what decides when to stop.
        n_items: size of the catalogue.
        config: see :class:`LightGCNConfig`.
        progress: told of every epoch.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    interactions = interaction_matrix(train, n_items)
    with seeded(config.seed):
        network = LightGCN(interactions, config)
        trainer = _Trainer(network, interactions, config)
        fit(
            network,
            trainer.train_epoch,
            lambda: mean_ndcg(network.export(), valid),
            epochs=config.epochs,
            patience=config.patience,
            progress=progress,
        )
    return network.export()


class LightGCN(nn.Module):
    """Embeddings of all users, then all items, spread over the graph of who met what.

    Args:
        interactions: (n_users, n_items) CSR matrix of ones.
        config: see :class:`LightGCNConfig`.
    """

    def __init__(self, interactions: Any, config: LightGCNConfig) -> None:
        super().__init__()
        self.n_users = interactions.shape[0]
        self.layers = config.layers
        self.graph = normalised_adjacency(interactions)
        self.embeddings = nn.Parameter(torch.empty(sum(interactions.shape), config.embedding_size))
        nn.init.normal_(self.embeddings, std=0.1)

    def forward(self) -> Tensor:
        """Final embeddings (n_users + n_items, d) of all nodes."""
        return spread(self.embeddings, self.graph, self.layers)

    @torch.no_grad()
    def export(self) -> MFScorer:
        """What scores: the final embeddings, whose inner products are the scores (equation 5)."""
        final = self().numpy()
        return MFScorer(final[: self.n_users], final[self.n_users :])


def spread(embeddings: Tensor, graph: Tensor, layers: int) -> Tensor:
    """Equation 8: the mean of E, ÂE, … Âᴸ E, each from the one before (equation 7); differentiable in E.

    Args:
        embeddings: E, (n_nodes, d).
        graph: Â, see :func:`normalised_adjacency`.
        layers: L.
    """
    final: Tensor = _Spread.apply(embeddings, graph, layers)  # type: ignore[no-untyped-call]  # torch's
    return final


class _Spread(torch.autograd.Function):
    """What :func:`spread` does, and its gradient.

    Â is symmetric, so the mean of its powers is too, and the gradient spreads exactly as the embeddings do.
    """

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, graph: Tensor, layers: int) -> Tensor:
        ctx.graph, ctx.layers = graph, layers
        return _mean_of_layers(embeddings, graph, layers)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _mean_of_layers(gradient, ctx.graph, ctx.layers), None, None


def _mean_of_layers(layer: Tensor, graph: Tensor, layers: int) -> Tensor:
    total = layer.clone()
    with torch.autocast(layer.device.type, enabled=False):  # sparse products know no bfloat16
        for _ in range(layers):
            layer = graph @ layer
            total += layer
    return total / (layers + 1)


def normalised_adjacency(interactions: Any) -> Tensor:
    """Of who met what, (n_users, n_items) CSR of ones, with nodes in the order of users, then items.

    Â of equation 7, a sparse tensor: the adjacency of equation 6, each edge over the root of both ends' degrees.
    """
    adjacency = sparse.bmat([[None, interactions], [interactions.T, None]], format="csr", dtype=np.float32)
    scale = np.diff(adjacency.indptr).clip(min=1) ** -0.5
    values = adjacency.data * np.repeat(scale, np.diff(adjacency.indptr)) * scale[adjacency.indices]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)  # what is used of it is tested
        return torch.sparse_csr_tensor(
            torch.from_numpy(adjacency.indptr),
            torch.from_numpy(adjacency.indices),
            torch.from_numpy(values.astype(np.float32)),
            adjacency.shape,
            check_invariants=True,
        )


class _Trainer:
    """Draws a random item beside each interaction, and learns to rank it lower."""

    def __init__(self, network: LightGCN, interactions: Any, config: LightGCNConfig) -> None:
        pairs = interactions.tocoo()
        self._network = network
        self._optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        self._config = config
        self._n_items: int = interactions.shape[1]
        self._users = torch.from_numpy(pairs.row.astype(np.int64))
        self._items = torch.from_numpy(pairs.col.astype(np.int64))
        self._met = self._keys(self._users, self._items).sort().values

    def train_epoch(self, epoch: int) -> None:
        for _ in range(self._config.passes):
            for batch in torch.split(torch.randperm(len(self._users)), self._config.batch_size):
                self._update(self._users[batch], self._items[batch], epoch)

    def _update(self, users: Tensor, items: Tensor, epoch: int) -> None:
        others = torch.randint(self._n_items, items.shape)
        unmet = self._unmet(users, others)  # a pair of two items that were met says nothing
        nodes = [users[unmet], self._network.n_users + items[unmet], self._network.n_users + others[unmet]]
        loss = self._loss(*nodes)
        if unmet.any():  # else it is the mean of nothing
            tried = dict(zip(("users", "items", "others"), nodes, strict=True))
            check_loss(loss.item(), f"epoch {epoch} of LightGCN", tried)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._optimizer.step()

    def _loss(self, users: Tensor, items: Tensor, others: Tensor) -> Tensor:
        """Equation 15, a pair's mean; the penalty is on the embeddings of the pairs' own nodes, as in its code."""
        final = self._network()
        user, item, other = (F.embedding(nodes, final) for nodes in (users, items, others))
        margin = (user * (item - other)).sum(dim=-1)
        own = sum(F.embedding(n, self._network.embeddings).square().sum(dim=-1) for n in (users, items, others))
        loss: Tensor = (F.softplus(-margin) + self._config.reg * own / 2).mean()
        return loss

    def _unmet(self, users: Tensor, items: Tensor) -> Tensor:
        keys = self._keys(users, items)
        places = torch.searchsorted(self._met, keys).clamp(max=len(self._met) - 1)
        unmet: Tensor = self._met[places] != keys
        return unmet

    def _keys(self, users: Tensor, items: Tensor) -> Tensor:
        return users * self._n_items + items
