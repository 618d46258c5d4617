"""Many LoRA adapters in one forward pass: each example of a batch has its own, looked up in stacks.

LoRA (Hu et al., ICLR 2022): y = W x + (α / r) B A x. The factors of all resident adapters are stacked, slot 0 is all
zeros and stands for the base model; α / r is folded into B. An adapter can also change the vocabulary: in the input
embedding x is one-hot, so A holds a vector for each token; in the output head B does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from service.engine.errors import AdapterError

BASE_SLOT = 0


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


class BatchSlots:
    """Which adapter each example of the running batch has.

    One instance is shared by all adapted modules of a model and set before each forward pass. ``index`` (batch,) int64
    are the slots, None where all are the base model's; ``rows`` the examples of each slot but the base model's.
    """

    index: Tensor | None = None
    rows: Mapping[int, Tensor] = {}

    def set(self, slots: Sequence[int], device: torch.device) -> None:
        """Take the slots of a batch's examples."""
        self.index = torch.tensor(slots, device=device) if any(slots) else None
        used = sorted(set(slots) - {BASE_SLOT})
        self.rows = {slot: torch.tensor([r for r, s in enumerate(slots) if s == slot], device=device) for slot in used}


class LoraStack:
    """All adapters' factors for one module.

    Nothing is allocated until the first adapter comes that touches the module: until then it costs what it costs in
    the base model.

    Args:
        target: shapes and rank.
        like: a tensor of the device and the number format that the factors shall have.
        gain: what the module multiplies its output with; folded into B.
    """

    def __init__(self, target: LoraTarget, like: Tensor, gain: float = 1.0) -> None:
        self.target = target
        self.gain = gain
        self.a = like.new_empty(0, target.n_in, target.rank)  # (slots, n_in, rank)
        self.b = like.new_empty(0, target.rank, target.n_out)  # (slots, rank, n_out)

    def __len__(self) -> int:
        return len(self.a)

    @property
    def slot_bytes(self) -> int:
        """Memory that one adapter takes here."""
        return (self.target.n_in + self.target.n_out) * self.target.rank * self.a.element_size()

    def reserve(self, capacity: int) -> None:
        """Make room for ``capacity`` slots, keeping what is there."""
        self.a = _grown(self.a, capacity)
        self.b = _grown(self.b, capacity)

    def write(self, slot: int, factors: LoraFactors | None) -> None:
        """Put an adapter's factors into a slot; None leaves the module as the base model has it."""
        if factors is None:
            self.a[slot].zero_()
            self.b[slot].zero_()
        else:
            self.a[slot].copy_(factors.a.T)
            self.b[slot].copy_(factors.b.T * self.gain)


class MultiLoRALinear(nn.Module):
    """A projection that adds to each example of the batch what that example's adapter adds."""

    def __init__(self, base: nn.Linear, rank: int, slots: BatchSlots) -> None:
        super().__init__()
        self.base = base
        self.slots = slots
        self.stack = LoraStack(LoraTarget(base.out_features, base.in_features, rank), base.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` is (batch, tokens, n_in); returns (batch, tokens, n_out)."""
        y: Tensor = self.base(x)
        if self.slots.index is None or not len(self.stack):
            return y
        low = torch.bmm(x, self.stack.a[self.slots.index])  # (batch, tokens, rank)
        return torch.baddbmm(y, low, self.stack.b[self.slots.index])


class MultiLoRAEmbedding(nn.Module):
    """An input embedding whose adapters hold a vector for each token."""

    def __init__(self, base: nn.Embedding, rank: int, slots: BatchSlots) -> None:
        super().__init__()
        self.base = base
        self.slots = slots
        target = LoraTarget(base.embedding_dim, base.num_embeddings, rank, is_embedding=True)
        gain = float(getattr(base, "embed_scale", 1.0))  # Gemma multiplies its embeddings on the way in
        self.stack = LoraStack(target, base.weight, gain)

    def forward(self, tokens: Tensor) -> Tensor:
        """``tokens`` is (batch, tokens) int64; returns (batch, tokens, hidden)."""
        y: Tensor = self.base(tokens)
        if self.slots.index is None or not len(self.stack):
            return y
        low = self.stack.a[self.slots.index[:, None], tokens]  # (batch, tokens, rank)
        return torch.baddbmm(y, low, self.stack.b[self.slots.index])


class MultiLoRAHead(nn.Module):
    """The output head, asked for one position of each example.

    Its B is as long as the vocabulary, so it is not copied for every example as in the other modules: examples of one
    adapter are multiplied together.
    """

    def __init__(self, base: nn.Linear, rank: int, slots: BatchSlots) -> None:
        super().__init__()
        self.base = base
        self.slots = slots
        self.stack = LoraStack(LoraTarget(base.out_features, base.in_features, rank), base.weight)

    def forward(self, states: Tensor) -> Tensor:
        """``states`` is (batch, hidden); returns (batch, vocabulary)."""
        logits: Tensor = self.base(states)
        if not len(self.stack):
            return logits
        for slot, rows in self.slots.rows.items():
            logits.index_add_(0, rows, states[rows] @ self.stack.a[slot] @ self.stack.b[slot])
        return logits


class AdapterStacks:
    """The stacks of all modules of one model. Used by the model's thread only, between batches.

    Args:
        stacks: by module name.
        capacity: adapters that fit without growing.
        budget_bytes: memory that all stacks together may take.
    """

    def __init__(self, stacks: Mapping[str, LoraStack], capacity: int, budget_bytes: int) -> None:
        self._stacks = stacks
        self._capacity = capacity + 1  # and the base model's
        self._budget_bytes = budget_bytes

    def targets(self) -> dict[str, LoraTarget]:
        """What an adapter can change, by module name."""
        return {name: stack.target for name, stack in self._stacks.items()}

    def write(self, slot: int, weights: AdapterWeights) -> None:
        """Put an adapter into a slot. Raises AdapterError where that would exceed the budget; then nothing changed."""
        capacity = self._capacity
        while capacity <= slot:
            capacity *= 2
        stacks = {name: stack for name, stack in self._stacks.items() if name in weights or len(stack)}
        needed = capacity * sum(stack.slot_bytes for stack in stacks.values())
        if needed > self._budget_bytes:
            raise AdapterError(f"adapters would take {needed} bytes, the budget is {self._budget_bytes}: unload some")
        for stack in stacks.values():
            stack.reserve(capacity)
        for name, stack in stacks.items():
            stack.write(slot, weights.get(name))
        self._capacity = capacity


def add_multi_lora(model: PreTrainedModel, rank: int, table_rank: int, slots: BatchSlots) -> dict[str, LoraStack]:
    """Replace every linear layer and the input embedding of ``model``. The stacks of the new ones by module name.

    ``rank`` is that of all adapters on the layers, ``table_rank`` on input embedding and output head.
    """
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    adapted: dict[str, MultiLoRALinear | MultiLoRAEmbedding | MultiLoRAHead] = {}
    for name, module in model.named_modules():
        if module is embedding and isinstance(module, nn.Embedding):
            adapted[name] = MultiLoRAEmbedding(module, table_rank, slots)
        elif module is head and isinstance(module, nn.Linear):
            adapted[name] = MultiLoRAHead(module, table_rank, slots)
        elif isinstance(module, nn.Linear):
            adapted[name] = MultiLoRALinear(module, rank, slots)
    for name, layer in adapted.items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer)
    return {name: layer.stack for name, layer in adapted.items()}


def _grown(stack: Tensor, capacity: int) -> Tensor:
    if len(stack) >= capacity:
        return stack
    grown = stack.new_zeros(capacity, *stack.shape[1:])
    grown[: len(stack)] = stack
    return grown
