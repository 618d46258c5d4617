"""Stacks of factors: every row meets its own adapter, and what is being written is not seen."""

import numpy as np
import pytest
import torch

from models.contract.types import item_numbers
from service.engine.errors import AdapterError
from service.engine.lora import AdapterStacks, Groups, LoraFactors, LoraStack, LoraTarget

pytestmark = pytest.mark.engine
N_IN, N_OUT, RANK = 16, 8, 3  # a rank that has to be padded
CPU = torch.device("cpu")


def factors(seed: int) -> LoraFactors:
    generator = torch.Generator().manual_seed(seed)
    return LoraFactors(torch.randn(RANK, N_IN, generator=generator), torch.randn(N_OUT, RANK, generator=generator))


def filled(slots: int, dtype: torch.dtype = torch.float32) -> LoraStack:
    """A stack with an adapter in each slot but the first, its number the seed."""
    stack = LoraStack(LoraTarget(N_OUT, N_IN, RANK), torch.empty(0, dtype=dtype), 0)
    for slot in range(1, slots):
        stack.a, stack.b = stack.written(slot, factors(slot), slots)
    return stack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [(2, 2, 2), (1, 4, 2)])
@pytest.mark.parametrize("slots", [(1, 2, 3), (0, 1, 4), (2, 2, 2), (0, 0, 3)])
def test_each_row_meets_its_own_adapter(slots: tuple[int, ...], lengths: tuple[int, ...], dtype: torch.dtype) -> None:
    groups = Groups.of(item_numbers(slots), np.asarray(lengths), CPU)
    assert groups is not None
    x = torch.randn(sum(lengths), N_IN, generator=torch.Generator().manual_seed(9)).to(dtype)
    y = torch.ones(sum(lengths), 2 * N_OUT, dtype=dtype)
    filled(6, dtype).add(y[:, N_OUT:], x, groups)  # columns of a wider product
    for row, slot in enumerate(np.repeat(slots, lengths)):
        own = factors(int(slot))
        delta = own.b @ own.a @ x[row].float() if slot else torch.zeros(N_OUT)
        torch.testing.assert_close(
            y[row, N_OUT:].float(), 1 + delta, atol=2e-1 if dtype == torch.bfloat16 else 1e-4, rtol=3e-2
        )
    assert (y[:, :N_OUT] == 1).all()


def test_slots_that_no_row_asks_for_are_not_read() -> None:
    stack = filled(6)
    stack.a[[1, 3, 5]] = torch.nan
    stack.b[[1, 3, 5]] = torch.nan
    groups = Groups.of(item_numbers([2, 4]), np.asarray([1, 2]), CPU)
    assert groups is not None
    y = torch.zeros(3, N_OUT)
    stack.add(y, torch.ones(3, N_IN), groups)
    assert torch.isfinite(y).all()


def test_prepared_adapter_is_not_seen_before_it_is_published() -> None:
    stack = LoraStack(LoraTarget(N_OUT, N_IN, RANK), torch.empty(0), 2)
    stacks = AdapterStacks({"module": stack}, capacity=1, budget_bytes=1 << 20)
    prepared = stacks.prepare(3, {"module": factors(3)})  # the stack has to grow for it
    assert (len(stack), stacks.size_bytes, stacks.lowest_level([3])) == (0, 0, None)
    stacks.publish(prepared)
    assert len(stack) == 4
    assert stacks.lowest_level([0, 3]) == 2
    torch.testing.assert_close(stack.a[3, :RANK], factors(3).a)


def test_growing_copies_beside_the_stack_in_use() -> None:
    stack = LoraStack(LoraTarget(N_OUT, N_IN, RANK), torch.empty(0), 0)
    stacks = AdapterStacks({"module": stack}, capacity=1, budget_bytes=1 << 20)
    stacks.write(1, {"module": factors(1)})
    in_use = stack.a
    stacks.publish(stacks.prepare(2, {"module": factors(2)}))
    assert stack.a is not in_use
    torch.testing.assert_close(stack.a[:2], in_use)


@pytest.mark.usefixtures("dirty_memory")
def test_module_that_comes_later_leaves_the_adapters_alone_that_were_there() -> None:
    narrow, wide = (LoraStack(LoraTarget(N_OUT, N_IN, RANK), torch.empty(0), level) for level in (0, 1))
    stacks = AdapterStacks({"narrow": narrow, "wide": wide}, capacity=2, budget_bytes=1 << 20)
    stacks.write(1, {"narrow": factors(1)})
    stacks.write(2, {"narrow": factors(2), "wide": factors(3)})
    stacks.write(3, {"wide": factors(4)})  # both grow
    assert len(wide) == 6
    assert not wide.a[[0, 1, 4, 5]].any()
    assert not wide.b[[0, 1, 4, 5]].any()
    assert not narrow.a[[0, 3, 4, 5]].any()
    torch.testing.assert_close(narrow.a[1, :RANK], factors(1).a)


def test_refused_adapter_leaves_everything() -> None:
    stack = LoraStack(LoraTarget(N_OUT, N_IN, RANK), torch.empty(0), 0)
    stacks = AdapterStacks({"module": stack}, capacity=1, budget_bytes=2 * stack.slot_bytes)
    stacks.write(1, {"module": factors(1)})
    with pytest.raises(AdapterError, match="the budget is"):
        stacks.prepare(2, {"module": factors(2)})
    assert (len(stack), stacks.size_bytes) == (2, 2 * stack.slot_bytes)


def one_module(capacity: int, budget_slots: int) -> tuple[LoraStack, AdapterStacks]:
    stack = LoraStack(LoraTarget(N_OUT, N_IN, RANK), torch.empty(0), 0)
    return stack, AdapterStacks({"module": stack}, capacity, budget_slots * stack.slot_bytes)


def test_capacity_starts_where_the_budget_ends() -> None:
    stack, stacks = one_module(capacity=16, budget_slots=5)
    for slot in range(1, 5):
        stacks.write(slot, {"module": factors(slot)})
    assert len(stack) == 5
    with pytest.raises(AdapterError, match="the budget is"):
        stacks.write(5, {"module": factors(5)})
    stacks.write(4, {"module": factors(9)})  # a slot that is free again
    torch.testing.assert_close(stack.a[4, :RANK], factors(9).a)


def test_growing_takes_what_the_budget_leaves_beside_the_old_stacks() -> None:
    stack, stacks = one_module(capacity=3, budget_slots=11)
    sizes = []
    for slot in range(1, 7):
        stacks.write(slot, {"module": factors(slot)})
        sizes.append(len(stack))
    assert sizes == [4, 4, 4, 7, 7, 7]  # twice four would be twelve beside the old ones
    with pytest.raises(AdapterError, match=f"would take {15 * stack.slot_bytes} bytes"):
        stacks.write(7, {"module": factors(7)})
    torch.testing.assert_close(stack.a[1:, :RANK], torch.stack([factors(slot).a for slot in range(1, 7)]))


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), MemoryError()])
def test_memory_that_is_not_there_refuses_the_adapter(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    stack, stacks = one_module(capacity=1, budget_slots=100)
    stacks.write(1, {"module": factors(1)})

    def refused(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch.Tensor, "new_zeros", refused)
    with pytest.raises(AdapterError, match="no memory for 4 slots"):
        stacks.write(2, {"module": factors(2)})
    assert (len(stack), stacks.lowest_level([2])) == (2, None)


@pytest.mark.parametrize(("dtype", "scale", "gain"), [(torch.float16, 1e5, 1.0), (torch.float32, 1e38, 1e3)])
def test_factors_that_overflow_in_their_slot_are_refused(dtype: torch.dtype, scale: float, gain: float) -> None:
    stack = LoraStack(LoraTarget(N_OUT, N_IN, RANK), torch.empty(0, dtype=dtype), 0, gain)
    stacks = AdapterStacks({"module": stack}, capacity=1, budget_bytes=1 << 20)
    large = LoraFactors(factors(1).a, factors(1).b.sign() * scale)
    with pytest.raises(AdapterError, match="factors of module are no finite numbers"):
        stacks.write(1, {"module": large})
    assert stacks.size_bytes == 0
