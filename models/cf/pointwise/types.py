"""What every collaborative model of labelled pairs is, to whoever trains, measures or injects it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Pairs:
    """A batch of user-item pairs.

    Args:
        users: (b,) int64 rows.
        items: (b,) int64 item numbers.
        histories: (b, length) int64 items that the user liked before, oldest first; ``n_items`` pads on the left.
    """

    users: Tensor
    items: Tensor
    histories: Tensor

    def to(self, device: torch.device) -> "Pairs":
        """The same pairs on a device."""
        return Pairs(self.users.to(device), self.items.to(device), self.histories.to(device))


class CollaborativeModel(nn.Module, ABC):
    """A network with parameters ψ: f_ψ of CoLLM's equation 1, and its interaction function.

    ``embedding_size`` is d1, of both vectors; ``history_length`` is how many items of a history the model looks at, 0
    where it looks at none.
    """

    embedding_size: int
    history_length: int

    @abstractmethod
    def represent(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """The users' and the items' vectors, (b, d1) each; differentiable."""

    @abstractmethod
    def forward(self, pairs: Pairs) -> Tensor:
        """(b,) logits of the labels."""
