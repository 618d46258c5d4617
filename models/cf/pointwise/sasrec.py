"""SASRec (https://arxiv.org/abs/1808.09781) on labelled pairs: what the user liked before against one item, trained
with binary cross-entropy at the last position, as CoLLM has it. The network is that of :mod:`models.cf.sasrec`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models.cf import sasrec
from models.cf.pointwise.types import CollaborativeModel, Pairs
from models.config import option
from models.contract.errors import ConfigError
from models.data.labelled import LONGEST_HISTORY


@dataclass(frozen=True)
class SASRecConfig:
    """How SASRec is built and trained. Raises ConfigError where the heads do not divide the embedding size."""

    embedding_size: int = option(64, "Dimensions of states and items", low=1, search=(64, 128, 256))
    layers: int = option(2, "Self-attention blocks", low=1, search=(1, 2))
    heads: int = option(1, "Attention heads; they divide the embedding size", low=1)
    history_length: int = option(25, "Liked items that are read, the newest", low=1, high=LONGEST_HISTORY)
    dropout: float = option(0.2, "Share of activations dropped while training", low=0.0, high=0.95, search=(0.2, 0.5))
    learning_rate: float = option(1e-3, "Step size of Adam", low=1e-7, high=1.0, search=(1e-2, 1e-3, 1e-4))
    weight_decay: float = option(1e-4, "L2 penalty", low=0.0, search=(1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7))
    batch_size: int = option(1024, "Pairs in an update", low=1)
    epochs: int = option(100, "Passes over the pairs, at most", low=1)
    patience: int = option(2, "Epochs without a better validation AUC after which training stops", low=1)
    seed: int = option(0, "Seed of initial weights, order and dropout", low=0)

    def __post_init__(self) -> None:
        if self.embedding_size % self.heads:
            raise ConfigError(f"heads: {self.heads}; expected a divisor of embedding_size, {self.embedding_size}")


class SASRec(CollaborativeModel):
    """See :class:`models.cf.pointwise.types.CollaborativeModel`. A user is the state of the history alone.

    Of an empty history that is the state of the start token, the same for all.
    """

    def __init__(self, n_items: int, config: SASRecConfig) -> None:
        super().__init__()
        self.embedding_size = config.embedding_size
        self.history_length = config.history_length
        self.network = sasrec.SASRec(
            n_items,
            sasrec.SASRecConfig(
                embedding_size=config.embedding_size,
                layers=config.layers,
                heads=config.heads,
                history_length=1 + config.history_length,  # the start token
                dropout=config.dropout,
            ),
        )

    def represent(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """The states at the histories' last items, and rows of the item table."""
        inputs, last = from_start(pairs.histories, self.network.n_items)
        states = self.network(inputs)[torch.arange(len(last), device=last.device), last]
        return states, F.embedding(pairs.items, self.network.table())

    def forward(self, pairs: Pairs) -> Tensor:
        """Inner products (equation 7)."""
        user, item = self.represent(pairs)
        return (user * item).sum(dim=-1)


def from_start(histories: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Histories as :mod:`models.cf.windows` has them.

    Args:
        histories: (b, length) int64, ``start`` pads on the left.
        start: number of the start token.

    Returns:
        (b, 1 + length) int64, the start token first, padding behind; and (b,) the place of the last item, 0 where a
        history is empty.
    """
    n, length = histories.shape
    last = (histories != start).sum(dim=1)
    places = torch.arange(length, device=last.device) + (length - last)[:, None]
    padded = F.pad(histories, (1, 1), value=start)  # the token first, and behind what there is
    firsts = torch.zeros((n, 1), dtype=torch.int64, device=last.device)
    return padded.gather(1, torch.cat([firsts, 1 + places.clamp(max=length)], dim=1)), last
