"""GRU4Rec (Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016).

https://arxiv.org/abs/1511.06939. Stronger than the paper's, as SASRec here is: cross-entropy over the full catalogue
instead of sampled items, and item embeddings tied at input and output, as its authors' later code allows.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from models.cf.training import Progress, seeded, silent
from models.cf.windows import NextItemNetwork, NextItemScorer, train_network
from models.config import option
from models.types import Examples, Sequences


@dataclass(frozen=True)
class GRU4RecConfig:
    """How GRU4Rec is built and trained."""

    embedding_size: int = option(128, "Dimensions of item embeddings and states", low=1, search=(64, 128, 256))
    layers: int = option(1, "Recurrent layers", low=1, search=(1, 2))
    history_length: int = option(50, "Items in a window, the newest when scoring", low=1)
    dropout: float = option(
        0.4, "Share of activations dropped while training", low=0.0, high=0.95, search=(0.2, 0.3, 0.4, 0.5, 0.6)
    )
    learning_rate: float = option(1e-3, "Step size of Adam", low=1e-7, high=1.0, search=(5e-4, 1e-3, 2e-3))
    weight_decay: float = option(0.0, "Decoupled weight decay", low=0.0, search=(0.0, 0.01, 0.1))
    batch_size: int = option(64, "Windows in an update", low=1, search=(64, 128, 256))
    epochs: int = option(100, "Passes over the interactions, at most", low=1)
    patience: int = option(5, "Epochs without a better validation NDCG@10 after which training stops", low=1)
    seed: int = option(0, "Seed of initial weights, order, windows and dropout", low=0)


def train_gru4rec(
    train: Sequences, valid: Examples, n_items: int, config: GRU4RecConfig, progress: Progress = silent
) -> NextItemScorer:
    """Train on the users' sequences, stop early on the validation examples. The same seed gives the same model.

    Args:
        train: item numbers of every user, oldest first.
        valid: what decides when to stop.
        n_items: size of the catalogue.
        config: see :class:`GRU4RecConfig`.
        progress: told of every epoch.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    with seeded(config.seed):
        return train_network(GRU4Rec(n_items, config), train, valid, config, progress)


class GRU4Rec(NextItemNetwork):
    """Items in, states out; see :class:`models.cf.windows.NextItemNetwork`."""

    def __init__(self, n_items: int, config: GRU4RecConfig) -> None:
        super().__init__()
        d = config.embedding_size
        self.n_items = n_items
        self.history_length = config.history_length
        self.items = nn.Embedding(n_items + 1, d)
        self.dropout = nn.Dropout(config.dropout)
        # A dropout between layers is an error where there is one layer.
        self.gru = nn.GRU(d, d, config.layers, batch_first=True, dropout=config.dropout if config.layers > 1 else 0.0)
        self.out = nn.Linear(d, d)
        nn.init.normal_(self.items.weight, std=d**-0.5)

    def forward(self, items: Tensor) -> Tensor:
        """States (n, length, d) of item numbers (n, length) int64."""
        states, _ = self.gru(self.dropout(self.items(items)))
        projected: Tensor = self.out(self.dropout(states))
        return projected

    def logits(self, states: Tensor) -> Tensor:
        """Scores (…, n_items) of the next item for states (…, d)."""
        return states @ self.items.weight[: self.n_items].T
