"""Matrix factorisation of labelled pairs (Koren et al., "Matrix Factorization Techniques for Recommender Systems",
Computer 2009), as CoLLM has it: an inner product, no biases.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from models.cf.pointwise.types import CollaborativeModel, Pairs
from models.config import option


@dataclass(frozen=True)
class MFConfig:
    """How MF is built and trained."""

    embedding_size: int = option(256, "Dimensions of users and items", low=1, search=(64, 128, 256))
    initial_std: float = option(0.01, "Standard deviation of the initial embeddings", low=0.0, search=(0.01, 0.1))
    learning_rate: float = option(1e-3, "Step size of Adam", low=1e-7, high=1.0, search=(1e-2, 1e-3, 1e-4))
    weight_decay: float = option(1e-4, "L2 penalty", low=0.0, search=(1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7))
    batch_size: int = option(1024, "Pairs in an update", low=1)
    epochs: int = option(100, "Passes over the pairs, at most", low=1)
    patience: int = option(5, "Epochs without a better validation AUC after which training stops", low=1)
    seed: int = option(0, "Seed of initial embeddings and order", low=0)


class MF(CollaborativeModel):
    """See :class:`models.cf.pointwise.types.CollaborativeModel`."""

    history_length = 0

    def __init__(self, n_users: int, n_items: int, config: MFConfig) -> None:
        super().__init__()
        self.embedding_size = config.embedding_size
        self.users = nn.Embedding(n_users, config.embedding_size)
        self.items = nn.Embedding(n_items, config.embedding_size)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=config.initial_std)

    def represent(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Rows of the two tables."""
        return self.users(pairs.users), self.items(pairs.items)

    def forward(self, pairs: Pairs) -> Tensor:
        """Inner products."""
        user, item = self.represent(pairs)
        return (user * item).sum(dim=-1)
