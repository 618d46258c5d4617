"""A batch as rows of tokens behind each other, without padding, and what of it is computed once.

A *query* asks one adapter about one prompt. A *prompt* of a batch is a sequence of tokens that some queries share; a
*call* is a query's copy of its prompt's rows, from the first layer on that its adapter changes. Calls are sorted by the
adapters' slots, so that the rows of one adapter lie together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from models.contract.types import Array, Ints
from service.engine.device import on_device
from service.engine.lora import Groups


@dataclass(frozen=True)
class Packed:
    """Sequences behind each other: ``lengths`` (n,) int64, ``device`` is where the indices shall be."""

    lengths: Array
    device: torch.device

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def longest(self) -> int:
        return int(self.lengths.max())

    @cached_property
    def positions(self) -> Tensor:
        """(rows,) each row's place in its sequence."""
        return on_device(_within(self.lengths), self.device)

    @cached_property
    def last(self) -> Tensor:
        """(n,) the last row of each sequence."""
        return on_device(np.cumsum(self.lengths) - 1, self.device)

    @cached_property
    def last_positions(self) -> Tensor:
        """(n,) the last row's place in its sequence."""
        return on_device(self.lengths - 1, self.device)

    def pad(self, rows: Tensor) -> Tensor:
        """(rows, …) to (n, longest, …); what pads is zero."""
        if self._padded is not None:
            padded = rows.new_zeros(len(self) * self.longest, *rows.shape[1:])
            rows = padded.index_copy_(0, self._padded, rows)
        return rows.view(len(self), self.longest, *rows.shape[1:])

    def unpad(self, padded: Tensor) -> Tensor:
        """(n, longest, …) to (rows, …)."""
        flat = padded.flatten(0, 1)
        return flat if self._padded is None else flat[self._padded]

    def visible_to_last(self, window: int | None) -> Tensor | None:
        """(n, 1, 1, longest) which positions the last row of each sequence sees; None: all."""
        if self._padded is None and (window is None or self.longest <= window):
            return None
        places = torch.arange(self.longest, device=self.device)
        last = self.last_positions[:, None]
        seen = (places <= last) if window is None else (places <= last) & (places > last - window)
        return seen[:, None, None]

    @cached_property
    def _padded(self) -> Tensor | None:
        """(rows,) each row's place among the padded ones; None where nothing pads."""
        if (self.lengths == self.longest).all():
            return None
        starts = np.repeat(np.arange(len(self)) * self.longest, self.lengths)
        return on_device(starts + _within(self.lengths), self.device)


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

    inputs: Packed
    outputs: Packed
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
        tokens: (prompt rows,) int64.
        prompts: each distinct sequence of tokens once.
        calls: one sequence a query.
        call_prompts: (calls,) each call's prompt.
        call_rows: (call rows,) the prompt row that each repeats.
    """

    order: Array
    slots: Ints
    tokens: Tensor
    prompts: Packed
    calls: Packed
    call_prompts: Tensor
    call_rows: Tensor

    @classmethod
    def of(cls, prompts: Sequence[Ints], slots: Sequence[int], device: torch.device) -> Self:
        """Arrange queries: the token ids (at least one) and the adapter's slot of each."""
        order = np.argsort(np.asarray(slots), kind="stable")
        numbers: dict[bytes, int] = {}
        distinct: list[Ints] = []
        called = np.empty(len(order), np.int64)
        for place, query in enumerate(order):
            key = prompts[query].tobytes()
            if key not in numbers:
                numbers[key] = len(distinct)
                distinct.append(prompts[query])
            called[place] = numbers[key]
        lengths = np.asarray([len(tokens) for tokens in distinct])
        starts = np.cumsum(lengths) - lengths
        call_rows = np.repeat(starts[called], lengths[called]) + _within(lengths[called])
        return cls(
            order,
            np.asarray(slots, np.int32)[order],
            on_device(np.concatenate(distinct).astype(np.int64), device),
            Packed(lengths, device),
            Packed(lengths[called], device),
            on_device(called, device),
            on_device(call_rows, device),
        )

    @cached_property
    def row_groups(self) -> Groups | None:
        return Groups.of(self.slots, self.calls.lengths, self.calls.device)

    @cached_property
    def call_groups(self) -> Groups | None:
        return Groups.of(self.slots, np.ones(len(self.slots), np.int64), self.calls.device)

    @cached_property
    def row_slots(self) -> Tensor:
        """(call rows,) the slot of each row."""
        return on_device(np.repeat(self.slots, self.calls.lengths).astype(np.int64), self.calls.device)

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


def _within(lengths: Array) -> Array:
    """0, 1, … for each of the lengths, behind each other."""
    places: Array = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return places
