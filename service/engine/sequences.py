"""Sequences of tokens as rows behind each other, without padding: where each row stands, and what it sees.

``Packed`` holds sequences that share nothing. In ``Branched`` sequences can begin alike: the rows of a common beginning
are there once, and every sequence that goes on from them reads their keys and values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from models.contract.hatllm import Mask, Segments, visible
from models.contract.types import Array, Ints
from service.engine.device import on_device

_NOWHERE = 1 << 30  # place of what pads a row: behind all tokens, where none sees it


@dataclass(frozen=True)
class Packed:
    """Sequences behind each other.

    Args:
        lengths: (n,) int64.
        device: where the indices shall be.
        segments: whose items the rows are, arrays of shape (rows,); None where every layer is causal.
    """

    lengths: Array
    device: torch.device
    segments: Segments | None = None
    _masks: dict[tuple[Mask, int | None], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def n_rows(self) -> int:
        return int(self.lengths.sum())

    @cached_property
    def longest(self) -> int:
        return int(self.lengths.max())

    @cached_property
    def positions(self) -> Tensor:
        """(rows,) each row's place in its sequence."""
        return on_device(within(self.lengths) if self.segments is None else self.segments.places, self.device)

    @cached_property
    def last(self) -> Tensor:
        """(n,) the last row of each sequence."""
        return on_device(np.cumsum(self.lengths) - 1, self.device)

    @cached_property
    def last_positions(self) -> Tensor:
        """(n,) the last row's place in its sequence."""
        return on_device(self.lengths - 1, self.device) if self.segments is None else self.positions[self.last]

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

    def visible(self, mask: Mask, window: int | None) -> Tensor | None:
        """(n or 1, 1, longest, longest) which places (last axis) each place sees; None: all that are not behind it."""
        if mask != "causal":
            return self._masked(mask, window)
        if window is None or self.longest <= window:
            return None
        places = torch.arange(self.longest, device=self.device)
        return _near(places, places, window)[None, None]

    def visible_to_last(self, mask: Mask, window: int | None) -> Tensor | None:
        """(n, 1, 1, longest) which places the last row of each sequence sees; None: all."""
        if mask != "causal":
            lasts = on_device(self.lengths - 1, self.device)
            numbers = torch.arange(len(self), device=self.device)
            return self._masked(mask, window)[numbers, :, lasts][:, :, None]
        if self._padded is None and (window is None or self.longest <= window):
            return None
        return _visible_to(self.last_positions, self.longest, window)[:, None, None]

    @cached_property
    def carried(self) -> Array:
        """(rows,) bool: what matters where only items' last tokens see each other: these, those of no item, the end."""
        carried: Array = (self._found.items < 0) | self._found.last
        carried[np.cumsum(self.lengths) - 1] = True
        return carried

    def narrowed(self) -> Self:
        """The rows that are :attr:`carried`, each at its place."""
        of = np.repeat(np.arange(len(self)), self.lengths)[self.carried]
        return type(self)(np.bincount(of, minlength=len(self)), self.device, taken(self._found, self.carried))

    @property
    def _found(self) -> Segments:
        if self.segments is None:
            raise ValueError("masked layers need segments")
        return self.segments

    def _masked(self, mask: Mask, window: int | None) -> Tensor:
        key = mask, window
        if key not in self._masks:
            seen = visible(mask, self._padded_segments)
            if window is not None:
                places = self._padded_segments.places
                seen = seen & (places[..., :, None] - places[..., None, :] < window)
            self._masks[key] = seen[:, None]
        return self._masks[key]

    @cached_property
    def _padded_segments(self) -> Segments:
        items, last, places = (
            on_device(each, self.device) for each in (self._found.items, self._found.last, self._found.places)
        )
        moved = self.pad(places + 1)
        return Segments(self.pad(items), self.pad(last), torch.where(moved == 0, _NOWHERE, moved - 1))

    @cached_property
    def _padded(self) -> Tensor | None:
        """(rows,) each row's place among the padded ones; None where nothing pads."""
        if (self.lengths == self.longest).all():
            return None
        starts = np.repeat(np.arange(len(self)) * self.longest, self.lengths)
        return on_device(starts + within(self.lengths), self.device)


@dataclass(frozen=True)
class Branched:
    """Sequences of pieces: a piece that others go on from is a root, one that a sequence ends in is a leaf.

    Args:
        lengths: (pieces,) int64, of the pieces, which lie behind each other.
        parents: (pieces,) the root that a leaf goes on from; -1: none.
        leaves: (n,) the piece that each sequence ends in, ascending.
        device: where the indices shall be.
    """

    lengths: Array
    parents: Array
    leaves: Array
    device: torch.device

    def __len__(self) -> int:
        return len(self.leaves)

    @property
    def n_rows(self) -> int:
        return int(self.lengths.sum())

    @cached_property
    def longest(self) -> int:
        return int((self._before + self.lengths).max())

    @cached_property
    def positions(self) -> Tensor:
        """(rows,) each row's place in its sequence."""
        return on_device(np.repeat(self._before, self.lengths) + within(self.lengths), self.device)

    @cached_property
    def last(self) -> Tensor:
        """(n,) the last row of each sequence."""
        return on_device((self._starts + self.lengths)[self.leaves] - 1, self.device)

    @cached_property
    def last_positions(self) -> Tensor:
        """(n,) the last row's place in its sequence."""
        return on_device((self._before + self.lengths)[self.leaves] - 1, self.device)

    @cached_property
    def roots(self) -> Packed:
        """The common beginnings."""
        return Packed(self.lengths[self._root_pieces], self.device)

    @cached_property
    def root_rows(self) -> Tensor:
        """(rows of roots,) where they are."""
        return self._rows_of(self._root_pieces)

    @cached_property
    def branches(self) -> Packed:
        """What the sequences do not share, one piece a sequence."""
        return Packed(self.lengths[self.leaves], self.device)

    @cached_property
    def branch_rows(self) -> Tensor:
        """(rows of branches,) where they are."""
        return self._rows_of(self.leaves)

    def pad(self, rows: Tensor) -> Tensor:
        """(rows, …) to (n, longest, …): whole sequences, beginnings repeated; what pads is a row that none sees."""
        return rows[self._sequences]

    def visible_to_branches(self, window: int | None) -> Tensor:
        """(n, 1, longest branch, longest) which places of its sequence each row of a branch sees."""
        own = torch.arange(self.branches.longest, device=self.device)
        before = on_device(self._before[self.leaves], self.device)
        return _visible_to(before[:, None] + own, self.longest, window)[:, None]

    def visible_to_last(self, window: int | None) -> Tensor:
        """(n, 1, 1, longest) which places the last row of each sequence sees."""
        return _visible_to(self.last_positions, self.longest, window)[:, None, None]

    @cached_property
    def _before(self) -> Array:
        """(pieces,) tokens of the sequence before each piece."""
        return np.where(self.parents < 0, 0, self.lengths[self.parents])

    @cached_property
    def _starts(self) -> Array:
        return np.asarray(np.cumsum(self.lengths) - self.lengths)

    @cached_property
    def _root_pieces(self) -> Array:
        return np.setdiff1d(np.arange(len(self.lengths)), self.leaves)

    @cached_property
    def _sequences(self) -> Tensor:
        """(n, longest) the rows of each sequence; what pads is its last."""
        places = np.arange(self.longest)[None]
        before, starts = self._before[self.leaves][:, None], self._starts[self.leaves][:, None]
        own = np.minimum(places - before, self.lengths[self.leaves][:, None] - 1)
        parents = self._starts[self.parents[self.leaves]][:, None]
        return on_device(np.where(places < before, parents + places, starts + own), self.device)

    def _rows_of(self, pieces: Array) -> Tensor:
        lengths = self.lengths[pieces]
        return on_device(np.repeat(self._starts[pieces], lengths) + within(lengths), self.device)


Layout = Packed | Branched
"""How the rows of a batch are sequences."""


def within(lengths: Array) -> Array:
    """0, 1, … for each of the lengths, behind each other."""
    places: Array = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return places


def taken(found: Segments, rows: Array) -> Segments:
    """Those of these rows alone, given by number or as a mask."""
    return Segments(found.items[rows], found.last[rows], found.places[rows])


def common_beginning(prompts: Sequence[Ints]) -> int:
    """How many tokens all prompts begin with alike, without any prompt's last one; 0 where there is one prompt."""
    if len(prompts) < 2:
        return 0
    shortest = min(map(len, prompts))
    first, *others = (prompt[:shortest] for prompt in prompts)
    differs = (np.stack(others) != first).any(axis=0)
    return min(int(differs.argmax()) if differs.any() else shortest, shortest - 1)


def _near(seeing: Tensor, seen: Tensor, window: int | None) -> Tensor:
    distance = seeing[..., None] - seen
    return (distance >= 0) if window is None else (distance >= 0) & (distance < window)


def _visible_to(positions: Tensor, n_places: int, window: int | None) -> Tensor:
    """(…, n_places) which places the rows at these positions see."""
    return _near(positions, torch.arange(n_places, device=positions.device), window)
