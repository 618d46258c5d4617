"""Groups of test examples."""

import numpy as np

from models.contract.catalogue import Catalogue, Item
from models.contract.types import item_numbers
from models.data.dataset import Dataset
from models.data.splits import TEST, TRAIN, VALID
from models.evaluation.slices import slices, training_counts
from models.types import Examples, Sequences

COUNTS = np.asarray([0, 1, 4, 5, 99, 100])


def examples() -> Examples:
    histories = Sequences.of([np.zeros(length, np.int32) for length in (4, 5, 9, 49, 50, 51)])
    return Examples(np.arange(6), histories, item_numbers([0, 1, 2, 3, 4, 5]))


def rows(group: str) -> dict[str, list[int]]:
    return {part.name: part.rows.tolist() for part in slices(examples(), COUNTS) if part.group == group}


def test_history_lengths_lie_between_the_bounds_of_their_names() -> None:
    assert rows("history length") == {"0-4": [0], "5-9": [1, 2], "20-49": [3], "50+": [4, 5]}


def test_a_target_that_training_never_met_is_a_slice_of_its_own() -> None:
    assert rows("target's training interactions") == {
        "0": [0],
        "1-4": [1, 2],
        "5-19": [3],
        "20-99": [4],
        "100+": [5],
    }


def test_every_example_is_in_one_slice_of_each_group() -> None:
    found = slices(examples(), COUNTS)
    for group in {part.group for part in found}:
        together = np.concatenate([part.rows for part in found if part.group == group])
        assert sorted(together.tolist()) == list(range(6))


def test_training_counts_leave_held_out_items_out() -> None:
    labels = np.asarray([TRAIN, TRAIN, VALID, TEST, TRAIN, TEST], np.int8)
    sequences = Sequences.of([item_numbers([0, 1, 2, 2]), item_numbers([1, 0])])
    catalogue = Catalogue(Item(name) for name in "abc")
    dataset = Dataset(("u", "v"), catalogue, sequences, np.zeros(6, np.int64), labels, labels == TEST)

    assert training_counts(dataset).tolist() == [1, 2, 0]
