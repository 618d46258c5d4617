"""DPMoE, the personalised experts of L2Rec (2026, section 2.2), on the linear layers of a frozen decoder.

The published text lost the symbols of equations 3 to 5. They are reconstructed from the prose; x is what the adapted
matrix reads, u the user's embedding, v the view, S the shared experts and E those of a view:

(3)  ΔW_v x = α/r · ( Σ_{i∈S} B_i A_i x + Σ_{k=1..E} g_k(x, u) · B_k A_k x ),   A (r, n_in), B (n_out, r)
(4)  s_c = W₂ σ(W₁ x),   s_u = U₂ σ(U₁ u),   s_cu = V₂ σ(V₁ [x; u])             each of E numbers
(5)  p = softmax(s_c + s_u ⊙ s_cu),   g_k = p_k · 1[k among the top-k of p]

Of (5) the text says "additive-multiplicative fusion" of three signals in which "context remains the primary routing
signal, while user preferences act as a personalized corrective". So the context stands by itself, and the user comes in
as what is added to it: his preference, times how it interacts with what is read. softmax(s_c + s_u + s_c ⊙ s_cu) and
softmax(s_c ⊙ (1 + s_u) + s_cu) would be sums and products of the three, too; in the first the user weighs as much as
the context, in the second context and user meet in a term that nothing holds back. The networks have no bias and
σ = GELU, so that σ(0) = 0: of nobody, whose embedding is zero, s_u = 0 and the context alone decides. The weights that
are left are not brought to sum 1: the text has an indicator there, nothing else.

Decisions that the text leaves open: a router a block of the decoder and a view, not a matrix (its seven matrices then
share one choice of experts, and routing costs 1 % of the block); it routes each token, as mixtures of experts do; it
reads what the block's first matrices read, the normed input. x and u are brought to a root mean square of 1 before the
router, so that neither the backbone's nor the collaborative model's scale has a say.

All experts are computed, and the weights multiply their activations of rank r: two products of (S + E) · r columns, no
loop. Gathering only the chosen experts' factors, a pair of matrices a token, takes longer: ``localrec bench experts``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from models.contract.errors import ConfigError
from models.networks.l2rec_config import VIEWS, ExpertsConfig, Target, View


@dataclass(frozen=True)
class Route:
    """How a block routed tokens of one view.

    Args:
        probabilities: (b, n, experts) float32: p of equation 5.
        chosen: (b, n, experts) bool: the top-k.
    """

    probabilities: Tensor
    chosen: Tensor

    @property
    def weights(self) -> Tensor:
        """(b, n, experts): g of equation 5."""
        return self.probabilities * self.chosen


class Router(nn.Module):
    """Equations 4 and 5: which experts read a token, for a user."""

    def __init__(self, config: ExpertsConfig) -> None:
        super().__init__()
        self.top_k, self.personal = config.top_k, config.personal
        inner, experts = config.router_size, config.experts
        self.context_in, self.context_out = _linear(config.size, inner), _linear(inner, experts)
        if config.personal:
            self.user_in, self.user_out = _linear(config.user_size, inner), _linear(inner, experts)
            self.both_in = _linear(config.size + config.user_size, inner)
            self.both_out = _linear(inner, experts)

    def forward(self, x: Tensor, users: Tensor) -> Route:
        """Route tokens x (b, n, hidden) of users (b, user_size); in float32, as rounding would choose other experts."""
        with torch.autocast(x.device.type, enabled=False):
            x, users = unit_scale(x.float()), unit_scale(users.float())
            scores = _network(self.context_in, self.context_out, x)
            if self.personal:
                preference = _network(self.user_in, self.user_out, users)
                scores = scores + preference[:, None] * self._interaction(x, users)
            probabilities = scores.softmax(dim=-1)
        chosen = torch.zeros_like(probabilities, dtype=torch.bool)
        chosen.scatter_(-1, probabilities.topk(self.top_k, dim=-1).indices, True)
        return Route(probabilities, chosen)

    def _interaction(self, x: Tensor, users: Tensor) -> Tensor:
        """s_cu, (b, n, experts): V₁ [x; u] in two products, so that u is read once a sequence."""
        of_both, n = self.both_in.weight.float(), x.shape[-1]
        inner = F.linear(x, of_both[:, :n]) + F.linear(users, of_both[:, n:])[:, None]
        return F.linear(F.gelu(inner), self.both_out.weight.float())


class Experts(nn.Module):
    """The low-rank experts of one linear layer, of both views: A and B of equation 3, one expert after the other.

    They lie as the semantic view's, the shared ones, the behavioural view's, so that what a view reads is one piece.

    Args:
        n_in, n_out: of the layer.
        rank: of an expert.
        shared: experts of both views.
        views: how many each view has of its own; of a view that is not there, none.
    """

    def __init__(self, n_in: int, n_out: int, rank: int, shared: int, views: Mapping[View, int]) -> None:
        super().__init__()
        semantic, behavioural = (views.get(view, 0) * rank for view in VIEWS)
        rows = semantic + shared * rank + behavioural
        self.a, self.b = nn.Parameter(torch.empty(rows, n_in)), nn.Parameter(torch.zeros(rows, n_out))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)
        self._rows = {"semantic": slice(0, rows - behavioural), "behavioural": slice(semantic, rows)}

    def forward(self, y: Tensor, x: Tensor, view: View, weights: Tensor) -> Tensor:
        """y (b, n, n_out) + ΔW x.

        Args:
            y: what the frozen layer made of x.
            x: (b, n, n_in).
            view: whose experts.
            weights: (b, n, rows) of the view's rows of A: each expert's weight ``rank`` times, α / r in it.
        """
        rows = self._rows[view]
        inner = F.linear(x, self.a[rows])
        return y + (inner * weights.to(inner.dtype)) @ self.b[rows]


@dataclass(frozen=True)
class FrozenBlock:
    """What is adapted of a decoder's block.

    Args:
        normed: gives what the block's first matrices read, and its router.
        layers: linear ones, by name.
    """

    normed: nn.Module
    layers: Mapping[Target, nn.Linear]

    @classmethod
    def of(cls, block: nn.Module, config: ExpertsConfig) -> Self:
        """Find it. Raises ConfigError where a target is not there."""
        named = {name.rpartition(".")[2]: module for name, module in block.named_modules()}
        for target in config.targets:
            if not isinstance(named.get(target), nn.Linear):
                raise ConfigError(f"targets: a {type(block).__name__} has no linear layer {target}")
        return cls(named["input_layernorm"], {target: named[target] for target in config.targets})


class BlockExperts(nn.Module):
    """Experts and routers of one block of the decoder."""

    def __init__(self, block: FrozenBlock, config: ExpertsConfig) -> None:
        super().__init__()
        self.config = config
        own = dict.fromkeys(config.views, config.experts)
        self.experts = nn.ModuleDict(
            {
                name: Experts(linear.in_features, linear.out_features, config.rank, config.shared, own)
                for name, linear in block.layers.items()
            }
        )
        self.routers = nn.ModuleDict({view: Router(config) for view in config.views} if config.experts else {})


class BlockRun:
    """One block, adapted, in one pass over a view of users (b, user_size): what hooks on the frozen modules do."""

    def __init__(self, experts: BlockExperts, view: View, users: Tensor) -> None:
        self.routes: list[Route] = []  # one, when the pass is over
        self._experts, self._view, self._users = experts, view, users
        config = experts.config
        self._shared = users.new_ones(1, 1, config.shared)
        self._weights = self._rows(users.new_empty(1, 1, 0))

    def hook(self, block: FrozenBlock) -> list[RemovableHandle]:
        """Put the hooks on a block's modules; whoever calls removes them."""
        own = self._experts.experts
        hooks = [layer.register_forward_hook(self._adapt(own[name])) for name, layer in block.layers.items()]
        if self._experts.routers:
            hooks.append(block.normed.register_forward_hook(self._choose))
        return hooks

    def _choose(self, _: nn.Module, __: tuple[Tensor, ...], normed: Tensor) -> None:
        """Route the block's tokens by its normed input (b, n, hidden)."""
        route = self._experts.routers[self._view](normed, self._users)
        self.routes.append(route)
        self._weights = self._rows(route.weights)

    def _adapt(self, experts: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def added(_: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
            adapted: Tensor = experts(y, inputs[0], self._view, self._weights)
            return adapted

        return added

    def _rows(self, own: Tensor) -> Tensor:
        """Each expert's weight, α / r in it, ``rank`` times, in the order of :class:`Experts`."""
        config = self._experts.config
        parts = [own, self._shared.to(own.dtype).expand(*own.shape[:2], -1)]
        ordered = torch.cat(parts if self._view == "semantic" else parts[::-1], dim=-1)
        return (ordered * (config.alpha / config.rank)).repeat_interleave(config.rank, dim=-1)


def _linear(n_in: int, n_out: int) -> nn.Linear:
    return nn.Linear(n_in, n_out, bias=False)


def _network(inner: nn.Linear, outer: nn.Linear, x: Tensor) -> Tensor:
    """A signal of equation 4 in float32, whatever type the weights have."""
    return F.linear(F.gelu(F.linear(x, inner.weight.float())), outer.weight.float())


def unit_scale(x: Tensor) -> Tensor:
    """Root mean square 1 along the last axis; zero stays zero."""
    return F.rms_norm(x, (x.shape[-1],), eps=1e-6)
