"""Windows of sequences."""

import numpy as np
import pytest

from models.cf.windows import pad, windows
from models.contract.types import item_numbers


@pytest.mark.parametrize("n", [1, 4, 5, 12, 13])
def test_windows_hold_every_item_once_in_order(n: int) -> None:
    sequence = np.arange(n, dtype=np.int32)
    for _ in range(10):
        pieces = windows(sequence, 4)
        np.testing.assert_array_equal(np.concatenate(pieces), sequence)
        assert all(0 < len(window) <= 4 for window in pieces)


def test_places_of_the_cuts_change() -> None:
    sequence = np.arange(12, dtype=np.int32)
    assert len({len(windows(sequence, 4)[0]) for _ in range(40)}) > 1


def test_targets_are_the_inputs_one_place_on() -> None:
    inputs, targets = pad([item_numbers([1, 2, 3]), item_numbers([4])], start=9)
    assert inputs.tolist() == [[9, 1, 2, 3], [9, 4, 9, 9]]
    assert targets.tolist() == [[1, 2, 3], [4, 9, 9]]
