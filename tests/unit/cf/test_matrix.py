"""Sequences as a matrix."""

import numpy as np

from models.cf.matrix import interaction_matrix
from models.contract.types import item_numbers
from models.types import Sequences


def test_items_met_are_ones_however_often() -> None:
    sequences = Sequences.of([item_numbers([3, 1, 1]), item_numbers([]), item_numbers([2, 0])])
    matrix = interaction_matrix(sequences, 4)
    assert matrix.dtype == np.float32
    assert matrix.toarray().tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 0]]


def test_sequences_keep_their_order() -> None:
    """scipy sorts in place; a shared array would cost every sequential model the order of its histories."""
    sequences = Sequences.of([item_numbers([3, 1, 1]), item_numbers([2, 0])])
    interaction_matrix(sequences, 4)
    assert sequences.items.tolist() == [3, 1, 1, 2, 0]
    assert sequences.offsets.tolist() == [0, 3, 5]
