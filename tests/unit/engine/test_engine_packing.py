"""How queries become prompts and calls."""

import numpy as np
import pytest
import torch

from models.contract.types import item_numbers
from service.engine.packing import Batch
from service.engine.sequences import Packed

pytestmark = pytest.mark.engine
CPU = torch.device("cpu")
LONG, SHORT = item_numbers([5, 6, 7]), item_numbers([9])


def test_each_prompt_once_and_calls_by_slot() -> None:
    batch = Batch.of([LONG, SHORT, LONG, LONG], [2, 1, 1, 0], CPU)
    assert batch.slots.tolist() == [0, 1, 1, 2]
    assert batch.order.tolist() == [3, 1, 2, 0]
    assert batch.prompts.lengths.tolist() == [3, 1]
    assert batch.tokens.tolist() == [5, 6, 7, 9]
    assert batch.call_prompts.tolist() == [0, 1, 0, 0]
    assert batch.calls.lengths.tolist() == [3, 1, 3, 3]
    assert batch.tokens[batch.call_rows].tolist() == [5, 6, 7, 9, 5, 6, 7, 5, 6, 7]
    assert batch.row_slots.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]


def test_groups_of_a_mixed_batch() -> None:
    batch = Batch.of([LONG, SHORT, LONG, LONG], [4, 2, 2, 4], CPU)
    groups = batch.row_groups
    assert groups is not None
    assert (groups.first, groups.ends.tolist(), groups.size) == (2, [4, 4, 10], None)


def test_groups_of_a_plain_fan_out_are_equal() -> None:
    batch = Batch.of([LONG] * 3, [3, 1, 2], CPU)
    groups, sequences = batch.row_groups, batch.call_groups
    assert groups is not None
    assert sequences is not None
    assert (groups.first, groups.ends.tolist(), groups.size) == (1, [3, 6, 9], 3)
    assert (sequences.ends.tolist(), sequences.size) == ([1, 2, 3], 1)


def test_base_model_alone_has_no_groups() -> None:
    batch = Batch.of([LONG, SHORT], [0, 0], CPU)
    assert batch.row_groups is None
    assert batch.call_groups is None


def test_places_in_sequences() -> None:
    packed = Packed(np.asarray([3, 1, 2]), CPU)
    assert packed.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert packed.last.tolist() == [2, 3, 5]
    assert packed.last_positions.tolist() == [2, 0, 1]


@pytest.mark.parametrize("lengths", [(3, 1, 2), (2, 2)])
def test_padding_and_back(lengths: tuple[int, ...]) -> None:
    packed = Packed(np.asarray(lengths), CPU)
    rows = torch.arange(1.0, 2 * sum(lengths) + 1).view(-1, 2)
    padded = packed.pad(rows)
    assert padded.shape == (len(lengths), max(lengths), 2)
    torch.testing.assert_close(packed.unpad(padded), rows)
    assert padded.sum() == rows.sum()


@pytest.mark.parametrize(
    ("lengths", "window", "expected"),
    [
        ((2, 2), None, None),
        ((2, 2), 2, None),
        ((3, 3), 2, [[False, True, True]] * 2),
        ((3, 1), None, [[True, True, True], [True, False, False]]),
        ((3, 2), 1, [[False, False, True], [False, True, False]]),
    ],
)
def test_what_the_last_token_sees(
    lengths: tuple[int, ...], window: int | None, expected: list[list[bool]] | None
) -> None:
    seen = Packed(np.asarray(lengths), CPU).visible_to_last("causal", window)
    assert (None if seen is None else seen[:, 0, 0].tolist()) == expected
