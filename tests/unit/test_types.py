"""Sequences and examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.types import item_numbers
from models.types import Examples, Sequences

sequences = st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=6)


def of(lists: list[list[int]]) -> Sequences:
    return Sequences.of([item_numbers(items) for items in lists])


def as_lists(made: Sequences) -> list[list[int]]:
    return [made[row].tolist() for row in range(len(made))]


@given(sequences)
def test_rows_are_what_they_were_made_of(lists: list[list[int]]) -> None:
    made = of(lists)

    assert len(made) == len(lists)
    assert as_lists(made) == lists
    assert (made.offsets.dtype, made.items.dtype) == (np.int64, np.int32)


@given(lists=sequences.filter(bool), data=st.data())
def test_take_gives_rows_in_the_order_asked(lists: list[list[int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1)))

    taken = of(lists).take(np.asarray(rows, np.int64))

    assert as_lists(taken) == [lists[row] for row in rows]


def test_examples_keep_user_history_and_target_together() -> None:
    examples = Examples(np.asarray([7, 8, 9]), of([[1], [], [2, 3]]), item_numbers([4, 5, 6]))

    taken = examples.take(np.asarray([2, 0]))

    assert len(examples) == 3
    assert (taken.users.tolist(), as_lists(taken.histories), taken.targets.tolist()) == ([9, 7], [[2, 3], [1]], [6, 4])


@pytest.mark.parametrize("values", [[1, 2], (1, 2), np.asarray([1, 2], np.int64), np.asarray([1.0, 2.0])])
def test_item_numbers_are_int32(values: list[int]) -> None:
    numbers = item_numbers(values)

    assert (numbers.dtype, numbers.tolist()) == (np.int32, [1, 2])
