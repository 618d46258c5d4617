"""L2Rec before and behind the decoder: pooling, projector, fusion; the equations are in :mod:`.l2rec`."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.l2rec_config import Pooling
from models.networks.l2rec_experts import unit_scale

_TINY = 1e-12


@dataclass(frozen=True)
class ViewInput:
    """A view's sequences, padded on the right.

    Args:
        embedded: (b, n, size).
        lengths: (b,), more than ``start``.
        start: places at the beginning that belong to no item.
    """

    embedded: Tensor
    lengths: Tensor
    start: int

    @property
    def real(self) -> Tensor:
        """(b, n) bool: not what pads."""
        return places(self.embedded) < self.lengths[:, None]


def places(x: Tensor) -> Tensor:
    """0, 1, … along the second axis of (b, n, …)."""
    return torch.arange(x.shape[1], device=x.device)


def pooled_items(words: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """A float32 vector an item (equation 2, before the projector): its tokens' mean, as long as these are on average.

    Args:
        words: (b, n, size) embeddings of tokens.
        items: (b, n) the item of each token, from 0 without gaps; -1 of none.

    Returns:
        (b, m, size) vectors, and (b,) how many of them are a row's own, the first ones.

    Raises:
        ValueError: a row holds no item.
    """
    counts = items.amax(dim=1) + 1
    fewest, most = (int(count) for count in counts.aminmax())
    if fewest < 1:
        raise ValueError(f"prompt {int(counts.argmin())} holds no item; expected at least one")
    with torch.autocast(words.device.type, enabled=False):
        members = F.one_hot(items + 1, most + 1)[:, :, 1:].transpose(1, 2).float()  # (b, m, n)
        sizes = members.sum(dim=2, keepdim=True).clamp(min=1.0)
        means = members @ words.float() / sizes
        typical = members @ words.float().norm(dim=2, keepdim=True) / sizes
        pooled = means * (typical / means.norm(dim=2, keepdim=True).clamp(min=_TINY))
    return pooled, counts


def pooled_states(states: Tensor, given: ViewInput, pooling: Pooling) -> Tensor:
    """(b, size) float32 of root mean square 1: the states (b, n, size) of the last tokens, or the items' mean."""
    if pooling == "last":
        ends = (given.lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])
        return unit_scale(states.gather(1, ends)[:, 0].float())
    of_items = given.real & (places(states) >= given.start)
    kept = states.float().masked_fill(~of_items[:, :, None], 0.0)
    return unit_scale(kept.sum(dim=1) / of_items.sum(dim=1)[:, None])


class ResidualProjection(nn.Module):
    """x + W x + b (b, …, size), which begins as the identity."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, size)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape comes out."""
        projected: Tensor = self.linear(x)
        return x + projected


class Fusion(nn.Module):
    """ACF, equation 7: residual projections of the views, and a gate that weighs each of their numbers.

    Args:
        size: of a view's vector.
        n_views: 2; or 1, without a gate.
    """

    def __init__(self, size: int, n_views: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(ResidualProjection(size) for _ in range(n_views))
        if n_views == 2:
            self.gate = nn.Linear(2 * size, size)
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """(b, size) of length 1, of n_views such vectors."""
        first, *others = (project(view) for project, view in zip(self.projections, views, strict=True))
        for other in others:
            share = self.gate(torch.cat([first, other], dim=-1)).sigmoid()
            first = share * first + (1 - share) * other
        return F.normalize(first, dim=-1)
