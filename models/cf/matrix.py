"""Sequences as a sparse user-by-item matrix."""

from typing import Any

import numpy as np
from scipy import sparse

from models.types import Sequences


def interaction_matrix(sequences: Sequences, n_items: int) -> Any:
    """(n, n_items) float32 CSR matrix of ones: which items each user met, however often."""
    ones = np.ones(len(sequences.items), dtype=np.float32)
    # A copy, because sum_duplicates sorts in place and the order of the sequences is the users' own.
    shape = (len(sequences), n_items)
    matrix = sparse.csr_matrix((ones, sequences.items, sequences.offsets), shape=shape, copy=True)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
