"""How L2Rec's experts are used: utilisation, entropy, and collapse."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from models.networks.l2rec import Routes
from models.networks.l2rec_config import View


@dataclass(frozen=True)
class RouterStatistics:
    """Sums over tokens; add those of several batches.

    Args:
        view: whose router.
        chosen: (blocks, experts) float64: how often each expert was.
        entropy: (blocks,) float64: of the tokens' probabilities, in nats.
        tokens: that were routed, a block.
    """

    view: View
    chosen: Tensor
    entropy: Tensor
    tokens: int

    @classmethod
    def of(cls, routes: Mapping[View, Routes]) -> tuple[Self, ...]:
        """Of one pass of the network, one a view."""
        return tuple(cls._of_view(view, found) for view, found in routes.items())

    @classmethod
    @torch.no_grad()
    def _of_view(cls, view: View, routes: Routes) -> Self:
        probabilities = torch.stack([block.probabilities[routes.real] for block in routes.blocks])
        chosen = torch.stack([block.chosen[routes.real] for block in routes.blocks])
        entropy = torch.special.entr(probabilities.double()).sum(dim=(1, 2))
        return cls(view, chosen.sum(dim=1).double().cpu(), entropy.cpu(), int(routes.real.sum()))

    def __add__(self, other: "RouterStatistics") -> "RouterStatistics":
        return replace(
            self,
            chosen=self.chosen + other.chosen,
            entropy=self.entropy + other.entropy,
            tokens=self.tokens + other.tokens,
        )

    @property
    def utilisation(self) -> Tensor:
        """(blocks, experts): each expert's share of the choices; 1 / experts where all are chosen alike."""
        shares: Tensor = self.chosen / self.chosen.sum(dim=1, keepdim=True)
        return shares

    @property
    def token_entropy(self) -> float:
        """Mean entropy of a token's probabilities, as a share of the largest there is: 1 is undecided, 0 sure."""
        return self._share(float(self.entropy.mean()) / self.tokens)

    @property
    def load_entropy(self) -> float:
        """Mean entropy of the blocks' utilisation, as a share of the largest there is: 0 is collapse."""
        return self._share(float(torch.special.entr(self.utilisation).sum(dim=1).mean()))

    @property
    def silent(self) -> tuple[tuple[int, int], ...]:
        """(block, expert) of those that were never chosen."""
        return tuple((block, expert) for block, expert in (self.chosen == 0).nonzero().tolist())

    def lines(self) -> Sequence[str]:
        """For a person: one line of figures, and one that names silent experts where there are any."""
        used = self.utilisation
        told = [
            f"{self.view}: {self.tokens} tokens, utilisation {float(used.min()):.3f} to {float(used.max()):.3f},"
            f" entropy of a token {self.token_entropy:.3f}, of the load {self.load_entropy:.3f}"
        ]
        if self.silent:
            named = ", ".join(f"block {block} expert {expert}" for block, expert in self.silent)
            told.append(f"{self.view}: never chosen: {named}")
        return told

    def _share(self, entropy: float) -> float:
        experts = self.chosen.shape[1]
        return entropy / math.log(experts) if experts > 1 else 1.0
