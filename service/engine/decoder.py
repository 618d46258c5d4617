"""The forward pass of a decoder whose rows are packed and whose adapters are many.

Below the first layer that an adapter of the batch changes, each distinct prompt goes through once. That layer's base
projections still read the prompts' rows, as its input is the same for all adapters; what the adapters add makes calls
of them. In the last layer everything but keys and values is computed for the last position only.

HatLLM's layers attend by items (``models.contract.hatllm``). From the first of the last layers on in which only items'
last tokens see each other, nobody reads what precedes them in their items: these rows are left behind.

The modules are Hugging Face's own (``service.engine.architecture`` reads them), so are the formulas.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from models.contract.hatllm import HatLayout, Mask
from service.engine.lora import Groups, LoraStack
from service.engine.packing import Batch, Stage
from service.engine.product import Product
from service.engine.sequences import Branched, Layout, Packed

EMBEDDING_LEVEL = -1

Rowwise = Callable[[Tensor], Tensor]
"""A norm or an activation: the same shape comes out."""
Rotations = Mapping[str, tuple[Tensor, Tensor]]
"""Cosines and sines (positions, head_size) of rotary embeddings, by type of layer."""


@dataclass(frozen=True)
class Projection:
    """Linear layers that read the same input, side by side, and what adapters add to each.

    Args:
        base: the base model's, rows (n, n_in) to (n, n_out).
        stacks: the adapters' factors; their outputs are n_out together.
    """

    base: Product
    stacks: tuple[LoraStack, ...]

    def __call__(self, x: Tensor, groups: Groups | None, repeats: Tensor | None = None) -> Tensor:
        """Rows (rows, n_in) to (rows, n_out). ``repeats``: input rows by output row, where those are more."""
        y = self.base(x)
        if repeats is not None:
            y = y[repeats]
        if groups is None:
            return y
        own = x if repeats is None else x[repeats]
        sizes = [stack.target.n_out for stack in self.stacks]
        for columns, stack in zip(torch.split(y, sizes, dim=1), self.stacks, strict=True):
            stack.add(columns, own, groups)
        return y


@dataclass(frozen=True)
class Embedding:
    """The input embedding, and the vectors that adapters add. ``module`` is the base model's."""

    module: Rowwise
    stack: LoraStack

    def __call__(self, batch: Batch, per_call: bool) -> Tensor:
        """(rows, hidden): the prompts' rows, or with ``per_call`` the calls', each as its adapter sees it."""
        x = self.module(batch.tokens)
        if not per_call:
            return x
        x = x[batch.call_rows]
        if batch.row_groups is not None and len(self.stack):
            vectors = self.stack.a[batch.row_slots, batch.tokens[batch.call_rows]]  # (rows, rank)
            batch.row_groups.add_product(x, vectors, self.stack.b)
        return x


@dataclass(frozen=True)
class Heads:
    """How a layer attends.

    Args:
        n: query heads.
        n_shared: key and value heads, each read by n / n_shared query heads.
        size: of a head.
        scaling: of the products of queries and keys.
        kind: type of layer, as the rotary embeddings know it.
        window: positions that a token sees, itself included; None: all before it.
        mask: which of them it sees.
        query_norm: over each head; None where there is none.
        key_norm: likewise.
    """

    n: int
    n_shared: int
    size: int
    scaling: float
    kind: str
    window: int | None
    mask: Mask
    query_norm: Rowwise | None
    key_norm: Rowwise | None

    def queries(self, rows: Tensor, rotations: Rotations, positions: Tensor) -> Tensor:
        """Projected rows (rows, n · size) to rotated queries (rows, n, size)."""
        return self._rotated(rows, self.query_norm, rotations, positions)

    def keys(self, rows: Tensor, rotations: Rotations, positions: Tensor) -> Tensor:
        """Projected rows (rows, n_shared · size) to rotated keys (rows, n_shared, size)."""
        return self._rotated(rows, self.key_norm, rotations, positions)

    def separate(self, rows: Tensor) -> Tensor:
        """(rows, heads · size) to (rows, heads, size)."""
        return rows.view(len(rows), -1, self.size)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, layout: Layout) -> Tensor:
        """Every row of every sequence: (rows, n · size)."""
        if isinstance(layout, Branched):
            return self._attend_branches(queries, keys, values, layout)
        q, k, v = (layout.pad(each).transpose(1, 2) for each in (queries, keys, values))
        mask = layout.visible(self.mask, self.window)
        return layout.unpad(self._attended(q, k, v, mask))

    def attend_last(self, queries: Tensor, keys: Tensor, values: Tensor, layout: Layout) -> Tensor:
        """The last row of every sequence: ``queries`` (n_sequences, n, size); returns (n_sequences, n · size)."""
        k, v = (layout.pad(each).transpose(1, 2) for each in (keys, values))
        # Query heads of one key head lie together, as rows of a product.
        q = queries.view(len(queries), self.n_shared, -1, self.size)
        if isinstance(layout, Packed):
            mask = layout.visible_to_last(self.mask, self.window)
        else:
            mask = layout.visible_to_last(self.window)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scaling).flatten(1)

    def _attend_branches(self, queries: Tensor, keys: Tensor, values: Tensor, layout: Branched) -> Tensor:
        attended = queries.new_empty(len(queries), self.n * self.size)
        own = layout.root_rows
        attended[own] = self.attend(queries[own], keys[own], values[own], layout.roots)
        q = layout.branches.pad(queries[layout.branch_rows]).transpose(1, 2)
        k, v = (layout.pad(each).transpose(1, 2) for each in (keys, values))
        mask = layout.visible_to_branches(self.window)
        attended[layout.branch_rows] = layout.branches.unpad(self._attended(q, k, v, mask))
        return attended

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """(n, heads, places, size) each; ``mask`` None: causal. Returns (n, places, heads · size)."""
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=self.scaling, enable_gqa=self.n != self.n_shared
        )
        return attended.transpose(1, 2).flatten(2)

    def _rotated(self, rows: Tensor, norm: Rowwise | None, rotations: Rotations, positions: Tensor) -> Tensor:
        x = self.separate(rows)
        if norm is not None:
            x = norm(x)
        cos, sin = (table[positions][:, None] for table in rotations[self.kind])  # (rows, 1, size)
        half = self.size // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1).mul_(sin)
        return turned.addcmul_(x, cos)


@dataclass(frozen=True)
class Layer:
    """One decoder layer.

    Args:
        heads: how it attends.
        queries: before they are rotated.
        keys_values: side by side.
        out: of the attention.
        gate_up: gate and input of the feed-forward part, side by side.
        down: its output.
        activation: of the gate.
        attention_norm: before the attention.
        attention_out_norm: after it; None where there is none.
        feedforward_norm: before the feed-forward part.
        feedforward_out_norm: after it; None where there is none.
    """

    heads: Heads
    queries: Projection
    keys_values: Projection
    out: Projection
    gate_up: Projection
    down: Projection
    activation: Rowwise
    attention_norm: Rowwise
    attention_out_norm: Rowwise | None
    feedforward_norm: Rowwise
    feedforward_out_norm: Rowwise | None

    def __call__(self, x: Tensor, stage: Stage, rotations: Rotations) -> Tensor:
        """All rows: (input rows, hidden) to (output rows, hidden)."""
        heads, packed, groups = self.heads, stage.outputs, stage.row_groups
        normed = self.attention_norm(x)
        k, v = self.keys_values(normed, groups, stage.rows).chunk(2, dim=1)
        queries = heads.queries(self.queries(normed, groups, stage.rows), rotations, packed.positions)
        keys = heads.keys(k, rotations, packed.positions)
        attended = heads.attend(queries, keys, heads.separate(v), packed)
        return self._finish(x if stage.rows is None else x[stage.rows], attended, groups)

    def last(self, x: Tensor, stage: Stage, rotations: Rotations) -> Tensor:
        """The last row of every sequence only: (input rows, hidden) to (output sequences, hidden)."""
        heads, packed, groups = self.heads, stage.outputs, stage.sequence_groups
        normed = self.attention_norm(x)
        k, v = self.keys_values(normed, stage.row_groups, stage.rows).chunk(2, dim=1)
        q = self.queries(normed[stage.inputs.last], groups, stage.sequences)
        queries = heads.queries(q, rotations, packed.last_positions)
        keys = heads.keys(k, rotations, packed.positions)
        attended = heads.attend_last(queries, keys, heads.separate(v), packed)
        x = x[stage.inputs.last]
        return self._finish(x if stage.sequences is None else x[stage.sequences], attended, groups)

    def _finish(self, x: Tensor, attended: Tensor, groups: Groups | None) -> Tensor:
        x = x + _maybe(self.attention_out_norm, self.out(attended, groups))
        gate, up = self.gate_up(self.feedforward_norm(x), groups).chunk(2, dim=1)
        inner = self.activation(gate).mul_(up)
        return x + _maybe(self.feedforward_out_norm, self.down(inner, groups))


@dataclass(frozen=True)
class Decoder:
    """Embedding, layers and final norm.

    Args:
        embedding: of tokens.
        layers: the lowest first.
        norm: after the last.
        rotations: those of so many positions.
        layout: which layer attends how, and how prompts are read; None: all are causal.
    """

    embedding: Embedding
    layers: Sequence[Layer]
    norm: Rowwise
    rotations: Callable[[int], Rotations]
    layout: HatLayout | None = None

    def states(self, batch: Batch, lowest: int | None) -> Tensor:
        """(calls, hidden): each call's last state, after the norm.

        Args:
            batch: what is asked.
            lowest: the first layer that an adapter of the batch changes, -1 for the embedding; None: none does.
        """
        first = self._first(lowest)
        x = self.embedding(batch, per_call=first == EMBEDDING_LEVEL)
        rotations = self.rotations(batch.prompts.longest)
        for number, layer in enumerate(self.layers):
            if number == self.narrow:
                x = x[batch.carried_prompt_rows if number <= first else batch.carried_call_rows]
                batch = batch.narrowed
            stage = batch.stage(number, first)
            x = layer(x, stage, rotations) if number + 1 < len(self.layers) else layer.last(x, stage, rotations)
        x = self.norm(x)
        return x[batch.call_prompts] if first >= len(self.layers) else x

    def computed_tokens(self, batch: Batch, lowest: int | None) -> float:
        """Rows of tokens that a layer computes keys and values of, mean over the layers; see :meth:`states`."""
        first, total = self._first(lowest), 0
        for number in range(len(self.layers)):
            if number == self.narrow:
                batch = batch.narrowed
            total += batch.stage(number, first).outputs.n_rows
        return total / len(self.layers)

    @cached_property
    def narrow(self) -> int:
        """The first of the last layers that are all of items' last tokens; the number of layers where none is."""
        masks = [layer.heads.mask for layer in self.layers]
        return next((n + 1 for n in reversed(range(len(masks))) if masks[n] != "cross"), 0)

    def _first(self, lowest: int | None) -> int:
        return len(self.layers) if lowest is None else lowest


def _maybe(norm: Rowwise | None, x: Tensor) -> Tensor:
    return x if norm is None else norm(x)
