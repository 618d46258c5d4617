"""What every collaborative model of labelled pairs is, to whoever trains, measures or injects it."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


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


class CollaborativeModel(Protocol):
    """A ``torch.nn.Module`` with parameters ψ: f_ψ of CoLLM's equation 1, and its interaction function."""

    @property
    def embedding_size(self) -> int:
        """d1, of both vectors."""
        ...

    def represent(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """The users' and the items' vectors, (b, d1) each; differentiable."""
        ...

    def __call__(self, pairs: Pairs) -> Tensor:
        """(b,) logits of the labels."""
        ...
