"""Many LoRA adapters in one forward pass: each example of a batch has its own, looked up in stacks, without a loop.

LoRA (Hu et al., ICLR 2022): y = W x + (α / r) B A x. The factors of all resident adapters are stacked, slot 0 is all
zeros and stands for the base model; α / r is folded into B.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from service.engine.errors import AdapterError

BASE_SLOT = 0


@dataclass(frozen=True)
class LoraFactors:
    """One adapter's factors for one projection: ``a`` (rank, n_in), ``b`` (n_out, rank), α / r folded into ``b``."""

    a: Tensor
    b: Tensor


AdapterWeights = Mapping[str, LoraFactors]
"""Factors by module name. Modules that the adapter leaves alone are absent."""


class BatchSlots:
    """The slot of each example of the running batch, (batch,) int64; None where all are the base model's.

    One instance is shared by every :class:`MultiLoRALinear` of a model and set before each forward pass.
    """

    index: Tensor | None = None


class MultiLoRALinear(nn.Module):
    """A linear layer that adds to each example of the batch what that example's adapter adds.

    The stacks are allocated when the first adapter comes that touches this layer: until then the layer costs what
    the base layer costs.

    Args:
        base: the layer as it is in the checkpoint.
        rank: rank of every adapter.
        slots: where the forward pass finds each example's slot.
    """

    def __init__(self, base: nn.Linear, rank: int, slots: BatchSlots) -> None:
        super().__init__()
        self.base = base
        self.rank = rank
        self.slots = slots
        self.a = base.weight.new_empty(0, base.in_features, rank)  # (slots, n_in, rank)
        self.b = base.weight.new_empty(0, rank, base.out_features)  # (slots, rank, n_out)

    @property
    def slot_bytes(self) -> int:
        """Memory that one adapter takes in this layer."""
        return (self.base.in_features + self.base.out_features) * self.rank * self.base.weight.element_size()

    def forward(self, x: Tensor) -> Tensor:
        """``x`` is (batch, tokens, n_in); returns (batch, tokens, n_out)."""
        y: Tensor = self.base(x)
        if self.slots.index is None or not len(self.a):
            return y
        low = torch.bmm(x, self.a[self.slots.index])  # (batch, tokens, rank)
        return torch.baddbmm(y, low, self.b[self.slots.index])

    def reserve(self, capacity: int) -> None:
        """Make room for ``capacity`` slots, keeping what is there."""
        self.a = _grown(self.a, capacity)
        self.b = _grown(self.b, capacity)

    def write(self, slot: int, factors: LoraFactors | None) -> None:
        """Put an adapter's factors into a slot; None leaves this layer as the base model has it."""
        if factors is None:
            self.a[slot].zero_()
            self.b[slot].zero_()
        else:
            self.a[slot].copy_(factors.a.T)
            self.b[slot].copy_(factors.b.T)


class AdapterStacks:
    """The stacks of all layers of one model. Used by the model's thread only, between batches.

    Args:
        layers: the adapted layers by module name.
        capacity: adapters that fit without growing.
        budget_bytes: memory that the stacks of all layers may take.
    """

    def __init__(self, layers: Mapping[str, MultiLoRALinear], capacity: int, budget_bytes: int) -> None:
        self._layers = layers
        self._capacity = capacity + 1  # and the base model's
        self._budget_bytes = budget_bytes

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Shape (n_out, n_in) of every layer that an adapter can change, by module name."""
        return {name: (layer.base.out_features, layer.base.in_features) for name, layer in self._layers.items()}

    def write(self, slot: int, weights: AdapterWeights) -> None:
        """Put an adapter into a slot. Raises AdapterError where that would exceed the budget; then nothing changed."""
        capacity = self._capacity
        while capacity <= slot:
            capacity *= 2
        layers = {name: layer for name, layer in self._layers.items() if name in weights or len(layer.a)}
        needed = capacity * sum(layer.slot_bytes for layer in layers.values())
        if needed > self._budget_bytes:
            raise AdapterError(f"adapters would take {needed} bytes, the budget is {self._budget_bytes}: unload some")
        for layer in layers.values():
            layer.reserve(capacity)
        for name, layer in layers.items():
            layer.write(slot, weights.get(name))
        self._capacity = capacity


def add_multi_lora(model: nn.Module, rank: int, slots: BatchSlots, without: nn.Module) -> dict[str, MultiLoRALinear]:
    """Replace every linear layer of ``model`` but ``without`` (the output head). The new ones by module name."""
    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not without}
    layers = {name: MultiLoRALinear(module, rank, slots) for name, module in linear.items()}
    for name, layer in layers.items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer)
    return layers


def _grown(stack: Tensor, capacity: int) -> Tensor:
    if len(stack) >= capacity:
        return stack
    grown = stack.new_zeros(capacity, *stack.shape[1:])
    grown[: len(stack)] = stack
    return grown
