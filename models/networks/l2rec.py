"""L2Rec's network ("L2Rec: Towards Dual-View Understanding of LLMs for Personalized Recommendation", 2026, section 2).

One frozen decoder reads a history twice, each time adapted by that view's experts (:mod:`.l2rec_experts`), and both
readings are fused into one vector of length 1. The published text lost the symbols of equations 1, 2 and 7; they are
reconstructed from the prose:

(1)  X_s = [start; text of item 1; separator; …; text of item n; separator]                        tokens
(2)  X_b = [start; P(e_1); …; P(e_n)],   e_i = pooled embeddings of item i's tokens,   P(e) = e + W e + b   vectors
(7)  ĥ_v = h_v + W_v h_v + b_v,   β = σ(W_g [ĥ_s; ĥ_b] + b_g),   h = (β ⊙ ĥ_s + (1 − β) ⊙ ĥ_b) / ‖·‖

Decisions that the text leaves open. e_i is the mean of the item's token embeddings, its separator's too, so that an
item without text has a vector, and is as long as its tokens are on average: a mean of many is short, and the decoder
adds to it. The start's tokens stand before the items in this view, too: whatever comes first draws a decoder's
attention, and that should be no item. h_v is the last token's state (the only one that has seen all), or with
``pooling`` "mean" the mean over the items' tokens, brought to a root mean square of 1. P and the residual projections
begin as the identity, β begins at one half, and so an untrained network answers what the frozen decoder does without
any expert, :meth:`L2RecNetwork.base` ("w/o Adapt").

Prompts are padded on the right, with anything: attention is causal, so no token sees what pads.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.contract.errors import ConfigError
from models.contract.hatllm import ItemLayout, segments
from models.networks.l2rec_config import ExpertsConfig, View
from models.networks.l2rec_experts import BlockExperts, BlockRun, FrozenBlock, Route
from models.networks.l2rec_views import Fusion, ResidualProjection, ViewInput, places, pooled_items, pooled_states


@dataclass(frozen=True)
class Routes:
    """How a view's tokens were routed.

    Args:
        blocks: one a block of the decoder, shallow first.
        real: (b, n) bool: not what pads.
    """

    blocks: tuple[Route, ...]
    real: Tensor


@dataclass(frozen=True)
class Views:
    """What the network makes of b histories.

    Args:
        semantic, behavioural: (b, size) float32 of root mean square 1, before fusion; None where the view is not there.
        fused: (b, size) float32 of length 1.
        routes: by view; empty where there is no router.
    """

    semantic: Tensor | None
    behavioural: Tensor | None
    fused: Tensor
    routes: Mapping[View, Routes]


class L2RecNetwork(nn.Module):
    """Histories to vectors. Its parameters, and its state, are those that are trained: the decoder is none of them.

    The decoder is not changed, and several networks may share one; it is moved to a device, and converted, by whoever
    has it. Of this module ``blocks`` may have the decoder's type of numbers, the rest stays float32. Experts run on
    what the decoder's layers give, by hooks, while :meth:`forward` runs: in one thread at a time.

    Args:
        decoder: of transformers, without a head, built like Llama (Qwen2, Qwen3, Gemma3); it is frozen here.
        layout: how prompts are read: L2RecLayout, or a HatLayout.
        config: see :class:`ExpertsConfig`.

    Raises:
        ConfigError: ``config.size`` is not the decoder's, or a block has no layer of a target's name.
    """

    def __init__(self, decoder: Any, layout: ItemLayout, config: ExpertsConfig) -> None:
        super().__init__()
        if config.size != decoder.config.hidden_size:
            raise ConfigError(f"size: {config.size}; the decoder's states have {decoder.config.hidden_size} numbers")
        self.layout, self.config = layout, config
        self._frozen = (decoder.eval().requires_grad_(False),)  # a tuple: not a part of this module
        self._adapts = tuple(FrozenBlock.of(block, config) for block in decoder.layers)
        self.blocks = nn.ModuleList(BlockExperts(block, config) for block in self._adapts)
        self.projector = ResidualProjection(config.size) if "behavioural" in config.views else nn.Identity()
        self.fusion = Fusion(config.size, len(config.views))

    @property
    def decoder(self) -> Any:
        """The frozen decoder."""
        return self._frozen[0]

    def forward(self, tokens: Tensor, lengths: Tensor, users: Tensor) -> Views:
        """Read histories.

        Args:
            tokens: (b, n) int64, a prompt a row: the start, then at least one item; padded on the right.
            lengths: (b,) int64: tokens of each prompt.
            users: (b, user_size): embeddings, zero of nobody.

        Raises:
            ValueError: a prompt holds no item.
        """
        states: dict[View, Tensor] = {}
        routes: dict[View, Routes] = {}
        for view, given in self._inputs(tokens, lengths, self.projector).items():
            with self._adapted(view, users) as runs:
                states[view] = self._read(given)
            if self.config.experts:
                routes[view] = Routes(tuple(run.routes[0] for run in runs), given.real)
        with torch.autocast(tokens.device.type, enabled=False):
            fused = self.fusion(list(states.values()))
        return Views(states.get("semantic"), states.get("behavioural"), fused, routes)

    def base(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """(b, size) float32 of length 1: the mean of the views, of the frozen decoder alone; arguments as there."""
        states = [self._read(given) for given in self._inputs(tokens, lengths, nn.Identity()).values()]
        return F.normalize(torch.stack(states).mean(dim=0), dim=-1)

    def _inputs(self, tokens: Tensor, lengths: Tensor, projector: nn.Module) -> dict[View, ViewInput]:
        """What the decoder is given, by view (equations 1 and 2)."""
        words, start = self.decoder.embed_tokens(tokens), self.layout.instruction_tokens
        inputs: dict[View, ViewInput] = {}
        if "semantic" in self.config.views:
            inputs["semantic"] = ViewInput(words, lengths, start)
        if "behavioural" in self.config.views:
            found = segments(tokens, places(tokens), self.layout)
            pads = places(tokens) >= lengths[:, None]
            items, counts = pooled_items(words, found.items.masked_fill(pads, -1))
            with torch.autocast(tokens.device.type, enabled=False):
                items = projector(items)
            embedded = torch.cat([words[:, :start].float(), items], dim=1)
            inputs["behavioural"] = ViewInput(embedded, counts + start, start)
        return inputs

    def _read(self, given: ViewInput) -> Tensor:
        """h_v, (b, size) float32 of root mean square 1."""
        embedded = given.embedded.to(self.decoder.dtype)
        states = self.decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return pooled_states(states, given, self.config.pooling)

    @contextmanager
    def _adapted(self, view: View, users: Tensor) -> Iterator[list[BlockRun]]:
        """Let the decoder run with a view's experts."""
        runs = [BlockRun(block, view, users) for block in self.blocks]  # type: ignore[arg-type] # of a ModuleList
        hooks = [hook for run, block in zip(runs, self._adapts, strict=True) for hook in run.hook(block)]
        try:
            yield runs
        finally:
            for hook in hooks:
                hook.remove()
