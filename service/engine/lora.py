"""Many LoRA adapters in one forward pass: the rows of a batch are sorted by adapter, and each group meets its own.

LoRA (Hu et al., ICLR 2022): y = W x + (α / r) B A x. The factors of all resident adapters are stacked, slot 0 is all
zeros and stands for the base model; α / r is folded into B. An adapter can also change the vocabulary: in the input
embedding x is one-hot, so A holds a vector for each token; in the output head B does.

A group of rows is multiplied with its slot's factors where they lie: nothing is copied, nothing is padded, and slots
that no row asks for are not read. So a slot can be written, and stacks can be copied to larger ones, while batches run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.contract.types import Ints
from service.engine.device import on_device
from service.engine.errors import AdapterError

BASE_SLOT = 0
ALIGNMENT_BYTES = 16  # of a row of factors: what the grouped product asks for


@dataclass(frozen=True)
class LoraFactors:
    """One adapter's factors for one module: ``a`` (rank, n_in), ``b`` (n_out, rank), α / r folded into ``b``."""

    a: Tensor
    b: Tensor


AdapterWeights = Mapping[str, LoraFactors]
"""Factors by module name. Modules that the adapter leaves alone are absent."""


@dataclass(frozen=True)
class LoraTarget:
    """A module that adapters can change.

    Args:
        n_out: size of what comes out.
        n_in: size of what goes in; of an embedding, the size of the vocabulary.
        rank: of every adapter here; 0 where adapters have to leave the module alone.
        is_embedding: PEFT names an embedding's tensors in another way.
    """

    n_out: int
    n_in: int
    rank: int
    is_embedding: bool = False


@dataclass(frozen=True)
class Groups:
    """Whose rows are whose: rows that are sorted by slot, those of slot ``first`` first.

    Args:
        first: the lowest slot that has rows.
        ends: (slots,) int32, where the rows of slot ``first``, ``first`` + 1, … end.
        size: rows of every slot where all have equally many, else None.
    """

    first: int
    ends: Tensor
    size: int | None

    @classmethod
    def of(cls, slots: Ints, lengths: Ints, device: torch.device) -> Self | None:
        """Groups of calls (n,) sorted by slot, of so many rows each; None where all are the base model's."""
        if slots[-1] == BASE_SLOT:
            return None
        first = int(slots[0])
        counts = np.bincount(slots - first, weights=lengths).astype(np.int32)
        size = int(counts[0]) if (counts == counts[0]).all() else None
        return cls(first, on_device(np.cumsum(counts, dtype=np.int32), device), size)

    def multiply(self, x: Tensor, factors: Tensor) -> Tensor:
        """Rows (rows, n) times their slots' factors (slots, m, n), transposed: (rows, m)."""
        own = factors[self.first : self.first + len(self.ends)].transpose(1, 2)
        if self.size is None:
            return F.grouped_mm(x, own, offs=self.ends)
        return torch.bmm(x.view(len(self.ends), self.size, -1), own).flatten(0, 1)

    def add_product(self, y: Tensor, x: Tensor, factors: Tensor) -> None:
        """Add the same to ``y`` (rows, m)."""
        if self.size is None:
            y += self.multiply(x, factors)
            return
        own = factors[self.first : self.first + len(self.ends)].transpose(1, 2)
        shape = (len(self.ends), self.size, -1)
        y.view(shape).baddbmm_(x.view(shape), own)


class LoraStack:
    """All adapters' factors for one module.

    Nothing is allocated until the first adapter comes that touches the module: until then it costs what it costs in
    the base model. ``a`` is (slots, rank, n_in), of an embedding (slots, n_in, rank); ``b`` is (slots, n_out, rank).
    Ranks are padded with zeros to what the grouped product asks for.

    Args:
        target: shapes and rank.
        like: a tensor of the device and the number format that the factors shall have.
        level: the layer that the module is in; -1 is the input embedding.
        gain: what the module multiplies its output with; folded into B.
    """

    def __init__(self, target: LoraTarget, like: Tensor, level: int, gain: float = 1.0) -> None:
        self.target = target
        self.level = level
        self.gain = gain
        step = ALIGNMENT_BYTES // like.element_size()
        self._rank = -(-target.rank // step) * step
        shape = (target.n_in, self._rank) if target.is_embedding else (self._rank, target.n_in)
        self.a = like.new_empty(0, *shape)
        self.b = like.new_empty(0, target.n_out, self._rank)

    def __len__(self) -> int:
        return len(self.a)

    @property
    def slot_bytes(self) -> int:
        """Memory that one adapter takes here."""
        return (self.target.n_in + self.target.n_out) * self._rank * self.a.element_size()

    def add(self, y: Tensor, x: Tensor, groups: Groups) -> None:
        """Add to ``y`` (rows, n_out) what the rows' adapters make of ``x`` (rows, n_in)."""
        if len(self):
            groups.add_product(y, groups.multiply(x, self.a), self.b)

    def written(self, slot: int, factors: LoraFactors | None, capacity: int) -> tuple[Tensor, Tensor]:
        """Stacks of ``capacity`` slots with an adapter's factors in one of them; None leaves the module as it is."""
        a, b = _grown(self.a, capacity), _grown(self.b, capacity)
        a[slot].zero_()
        b[slot].zero_()
        if factors is not None:
            rank = self.target.rank
            own = a[slot].T if self.target.is_embedding else a[slot]
            own[:rank].copy_(factors.a)
            b[slot][:, :rank].copy_(factors.b * self.gain)
        return a, b


@dataclass(frozen=True)
class PreparedAdapter:
    """An adapter that lies in a slot, but is not to be seen yet: stacks (a, b) by module name."""

    slot: int
    level: int
    capacity: int
    stacks: Mapping[str, tuple[Tensor, Tensor]] = field(repr=False)


class AdapterStacks:
    """The stacks of all modules of one model.

    Args:
        stacks: by module name.
        capacity: adapters that fit without growing, where the budget allows so many.
        budget_bytes: memory that all stacks together may take. While they grow the old ones count too: so a little
            more than half of the budget is sure to be of use.
    """

    def __init__(self, stacks: Mapping[str, LoraStack], capacity: int, budget_bytes: int) -> None:
        self._stacks = stacks
        self._capacity = capacity + 1  # and the base model's
        self._budget_bytes = budget_bytes
        self._levels: dict[int, int] = {}

    @property
    def size_bytes(self) -> int:
        """Memory that the stacks take."""
        return sum(len(stack) * stack.slot_bytes for stack in self._stacks.values())

    def targets(self) -> dict[str, LoraTarget]:
        """What an adapter can change, by module name."""
        return {name: stack.target for name, stack in self._stacks.items()}

    def lowest_level(self, slots: Sequence[int] | Ints) -> int | None:
        """The lowest layer that one of these slots' adapters touches; None where none touches any."""
        return min((self._levels[slot] for slot in {int(s) for s in slots} if slot in self._levels), default=None)

    @torch.inference_mode()
    def prepare(self, slot: int, weights: AdapterWeights) -> PreparedAdapter:
        """Put an adapter into a slot that no request uses. One at a time, in any thread, while batches run.

        Raises AdapterError where that would exceed the budget or the machine's memory, or where the factors overflow
        once α / r is in them and they are rounded; then nothing that a request can see has changed.
        """
        stacks = {name: stack for name, stack in self._stacks.items() if name in weights or len(stack)}
        capacity = self._capacity_for(slot, sum(stack.slot_bytes for stack in stacks.values()))
        try:
            written = {name: stack.written(slot, weights.get(name), capacity) for name, stack in stacks.items()}
        except (RuntimeError, MemoryError) as exc:
            raise AdapterError(f"no memory for {capacity} slots: {exc}") from exc
        for name in weights:
            _check_finite(name, *(factor[slot] for factor in written[name]))
        return PreparedAdapter(slot, min(self._stacks[name].level for name in weights), capacity, written)

    def _capacity_for(self, slot: int, slot_bytes: int) -> int:
        """Slots that the stacks shall have; what is copied to larger stacks lives twice for a while, and counts."""
        allocated = max(map(len, self._stacks.values()))
        copied_bytes = 0 if allocated > slot else self.size_bytes
        most = (self._budget_bytes - copied_bytes) // slot_bytes
        if allocated > slot:
            needed = capacity = allocated
        else:
            needed, capacity = slot + 1, min(self._roomy(slot), most)
        if max(needed, capacity) > most:
            needed_bytes = copied_bytes + needed * slot_bytes
            raise AdapterError(
                f"adapters would take {needed_bytes} bytes, the budget is {self._budget_bytes}: unload some"
            )
        return capacity

    def _roomy(self, slot: int) -> int:
        capacity = self._capacity
        while capacity <= slot:
            capacity *= 2
        return capacity

    def publish(self, adapter: PreparedAdapter) -> None:
        """Let batches see a prepared adapter. In the model's thread, between batches: nothing is copied here."""
        for name, (a, b) in adapter.stacks.items():
            self._stacks[name].a, self._stacks[name].b = a, b
        self._levels[adapter.slot] = adapter.level
        self._capacity = adapter.capacity

    def write(self, slot: int, weights: AdapterWeights) -> None:
        """Both at once, for whoever has no traffic. Raises AdapterError."""
        self.publish(self.prepare(slot, weights))


def _check_finite(name: str, *factors: Tensor) -> None:
    """Raises AdapterError where factors, as they lie in their slot, hold other than finite numbers."""
    if not all(bool(torch.isfinite(factor).all()) for factor in factors):
        raise AdapterError(f"factors of {name} are no finite numbers in {factors[0].dtype}, α / r included")


def _grown(stack: Tensor, capacity: int) -> Tensor:
    """A copy with more slots, the stack itself where it is large enough.

    What is new is zero: adapters that are resident and leave the module alone have slots there too.
    """
    if len(stack) >= capacity:
        return stack
    grown = stack.new_zeros(capacity, *stack.shape[1:])
    grown[: len(stack)] = stack
    return grown
