"""A batch as rows of tokens behind each other, without padding, and what of it is computed once.

A *query* asks one adapter about one prompt. A *prompt* of a batch is a sequence of tokens that some queries share; a
*call* is a query's copy of its prompt's rows, from the first layer on that its adapter changes. Calls are sorted by the
adapters' slots, so that the rows of one adapter lie together. Prompts that begin alike, and calls of one adapter that
do, can share these rows too.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.contract.hatllm import HatLayout, Segments, segments
from models.contract.types import Array, Ints
from service.engine.device import on_device
from service.engine.lora import Groups
from service.engine.sequences import Branched, Layout, Packed, taken, within

C = TypeVar("C")


@dataclass(frozen=True)
class Stage:
    """What a layer reads and what it gives.

    Args:
        inputs: the sequences that come in.
        outputs: the sequences that go out.
        rows: (output rows,) the input row that each repeats; None where they are the same.
        sequences: (outputs,) the input sequence that each repeats; None where they are the same.
        row_groups: whose output rows are whose; None below the adapters.
        sequence_groups: whose sequences are whose; None below the adapters.
    """

    inputs: Layout
    outputs: Layout
    rows: Tensor | None = None
    sequences: Tensor | None = None
    row_groups: Groups | None = None
    sequence_groups: Groups | None = None


@dataclass(frozen=True)
class Batch:
    """Queries, arranged.

    Args:
        order: (calls,) the number of each call's query.
        slots: (calls,) ascending.
        piece_slots: (pieces of the calls,) ascending: ``slots``, where no call shares a beginning.
        tokens: (prompt rows,) int64.
        prompts: each distinct sequence of tokens once.
        calls: one sequence a query.
        call_prompts: (calls,) each call's prompt.
        call_rows: (call rows,) the prompt row that each repeats.
    """

    order: Array
    slots: Ints
    piece_slots: Ints
    tokens: Tensor
    prompts: Layout
    calls: Layout
    call_prompts: Tensor
    call_rows: Tensor

    @classmethod
    def of(
        cls,
        prompts: Sequence[Ints],
        slots: Sequence[int],
        device: torch.device,
        shared: Sequence[int] | None = None,
        layout: HatLayout | None = None,
    ) -> Self:
        """Arrange queries.

        Args:
            prompts: token ids of each, at least one.
            slots: of each one's adapter.
            device: the model's.
            shared: how many tokens at the beginning of each prompt others may begin with too, less than all of them.
            layout: of prompts whose items masked layers must know; their beginnings are not shared.
        """
        order = np.argsort(np.asarray(slots), kind="stable")
        read, called = _Tree[Ints](), _Tree[int]()
        piece_slots: list[int] = []
        for query in map(int, order):
            n, slot = shared[query] if shared is not None and layout is None else 0, slots[query]
            tokens = prompts[query]
            root = read.piece(tokens[:n], tokens[:n].tobytes()) if n else None
            end = read.piece(tokens[n:], tokens[n:].tobytes(), root, ends=True)
            parent = None if root is None else called.piece(root, (slot, root))
            called.piece(end, query, parent, ends=True)
            piece_slots += [slot] * (len(called.contents) - len(piece_slots))
        lengths = np.asarray([len(tokens) for tokens in read.contents])
        pieces = np.asarray(called.contents)
        call_rows = np.repeat((np.cumsum(lengths) - lengths)[pieces], lengths[pieces]) + within(lengths[pieces])
        found = None if layout is None else _found(read.contents, layout)
        return cls(
            order,
            np.asarray(slots, np.int32)[order],
            np.asarray(piece_slots, np.int32),
            on_device(np.concatenate(read.contents).astype(np.int64), device),
            read.layout(lengths, device, found),
            called.layout(lengths[pieces], device, None if found is None else taken(found, call_rows)),
            on_device(np.searchsorted(read.leaves, pieces[called.leaves]), device),
            on_device(call_rows, device),
        )

    @cached_property
    def row_groups(self) -> Groups | None:
        return Groups.of(self.piece_slots, self.calls.lengths, self.calls.device)

    @cached_property
    def call_groups(self) -> Groups | None:
        return Groups.of(self.slots, np.ones(len(self.slots), np.int64), self.calls.device)

    @cached_property
    def row_slots(self) -> Tensor:
        """(call rows,) the slot of each row."""
        return on_device(np.repeat(self.piece_slots, self.calls.lengths).astype(np.int64), self.calls.device)

    @cached_property
    def below(self) -> Stage:
        """Layers below the adapters: each prompt once."""
        return Stage(self.prompts, self.prompts)

    @cached_property
    def boundary(self) -> Stage:
        """The first layer that adapters change: prompts come in, calls go out."""
        groups = (self.row_groups, self.call_groups)
        return Stage(self.prompts, self.calls, self.call_rows, self.call_prompts, *groups)

    @cached_property
    def above(self) -> Stage:
        """Layers above it."""
        return Stage(self.calls, self.calls, None, None, self.row_groups, self.call_groups)

    def stage(self, layer: int, first: int) -> Stage:
        """Of a layer, where the first that adapters change is ``first``."""
        return self.below if layer < first else self.boundary if layer == first else self.above

    @cached_property
    def carried_prompt_rows(self) -> Tensor:
        """The prompts' rows that are left in :attr:`narrowed`."""
        return _carried(self.prompts)

    @cached_property
    def carried_call_rows(self) -> Tensor:
        """The calls' rows that are left in :attr:`narrowed`."""
        return _carried(self.calls)

    @cached_property
    def narrowed(self) -> "Batch":
        """The same, of the rows alone that matter where only items' last tokens see each other."""
        renumbered = torch.empty_like(self.tokens)
        kept = self.carried_prompt_rows
        renumbered[kept] = torch.arange(len(kept), device=kept.device)
        return replace(
            self,
            tokens=self.tokens[kept],
            prompts=_packed(self.prompts).narrowed(),
            calls=_packed(self.calls).narrowed(),
            call_rows=renumbered[self.call_rows[self.carried_call_rows]],
        )


@dataclass
class _Tree(Generic[C]):
    """Collects pieces, equal ones once."""

    contents: list[C] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    _numbers: dict[Hashable, int] = field(default_factory=dict)

    def piece(self, content: C, key: Hashable, parent: int | None = None, *, ends: bool = False) -> int:
        """Number of a piece with this key behind its parent; a sequence ``ends`` in it, or others go on from it."""
        above = -1 if parent is None else parent
        number = self._numbers.setdefault((key, above, ends), len(self.contents))
        if number == len(self.contents):
            self.contents.append(content)
            self.parents.append(above)
            if ends:
                self.leaves.append(number)
        return number

    def layout(self, lengths: Array, device: torch.device, found: Segments | None) -> Layout:
        if len(self.leaves) == len(self.contents):
            return Packed(lengths, device, found)
        return Branched(lengths, np.asarray(self.parents), np.asarray(self.leaves), device)


def _found(prompts: Sequence[Ints], layout: HatLayout) -> Segments:
    """Whose items the rows of prompts behind each other are, arrays of shape (rows,)."""
    each = [segments(tokens.astype(np.int64), np.arange(len(tokens)), layout) for tokens in prompts]
    items, last, places = (
        np.concatenate(arrays) for arrays in zip(*((one.items, one.last, one.places) for one in each), strict=True)
    )
    return Segments(items, last, places)


def _packed(layout: Layout) -> Packed:
    if isinstance(layout, Branched):
        raise ValueError("masked layers read sequences that share no beginning")
    return layout


def _carried(layout: Layout) -> Tensor:
    return on_device(np.flatnonzero(_packed(layout).carried), layout.device)
