"""EASE: a linear item-to-item model in closed form (Steck, "Embarrassingly Shallow Autoencoders", WWW 2019).

https://arxiv.org/abs/1905.03375
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import lapack

from models.cf.matrix import interaction_matrix
from models.config import option
from models.contract.errors import ConfigError
from models.contract.types import Floats
from models.evaluation.metrics import mean_ndcg
from models.types import Examples, Sequences, by_history

COLUMNS_AT_ONCE = 512  # when a triangle is mirrored


@dataclass(frozen=True)
class EASEConfig:
    """How EASE is trained. Raises ConfigError where a penalty is not positive, or none is given."""

    regs: tuple[float, ...] = option(
        (30.0, 100.0, 300.0, 1000.0),
        "L2 penalties tried; validation data choose",
        search=((3.0,), (10.0,), (30.0,), (100.0,), (300.0,), (1000.0,), (3000.0,)),
    )

    def __post_init__(self) -> None:
        if not self.regs or min(self.regs) <= 0:
            raise ConfigError(f"regs: {self.regs}; expected one or more numbers above 0")


@dataclass(frozen=True)
class EASEScorer:
    """A trained EASE. ``weights`` is (n_items, n_items) float32 with a zero diagonal: B of equation 8."""

    weights: Floats
    reg: float

    def scores(self, histories: Sequences) -> Floats:
        """See :class:`models.types.Scorer`. Equation 1: S = X · B."""
        return np.asarray(interaction_matrix(histories, len(self.weights)) @ self.weights, dtype=np.float32)


def train_ease(train: Sequences, valid: Examples, n_items: int, config: EASEConfig) -> EASEScorer:
    """Solve EASE for each penalty and keep the one with the best validation NDCG@10; of equals the first.

    Needs memory for two float32 matrices of n_items squared (1.2 GB for 12,000 items), and time for one inverse a
    penalty.

    Raises:
        ConfigError: a penalty is so small that the inverse fails.
    """
    interactions = interaction_matrix(train, n_items)
    gram = interactions.T @ interactions
    scorers = (EASEScorer(_solve(gram, reg), reg) for reg in config.regs)
    return max(scorers, key=lambda scorer: mean_ndcg(by_history(scorer), valid))


def _solve(gram: Any, reg: float) -> Floats:
    """Equation 8: B = -P / diag(P) off the diagonal, 0 on it, where P = (XᵀX + λI)⁻¹, all in one matrix's place.

    XᵀX + λI is symmetric and positive definite, so its inverse comes from its Cholesky factor, in half the time of a
    general inverse. ``gram`` is sparse, (n_items, n_items).
    """
    weights = np.asfortranarray(gram.toarray(), dtype=np.float32)
    weights[np.diag_indices_from(weights)] += np.float32(reg)
    weights, failed = lapack.spotrf(weights, lower=True, clean=False, overwrite_a=True)
    if not failed:
        weights, failed = lapack.spotri(weights, lower=True, overwrite_c=True)
    if failed:
        raise ConfigError(f"regs: {reg} is too small for these data: the matrix cannot be inverted in single precision")
    _mirror(weights)
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def _mirror(matrix: Floats) -> None:
    """Copy what is below the diagonal to above it, some columns at a time so that no second matrix is needed."""
    for start in range(0, len(matrix), COLUMNS_AT_ONCE):
        end = min(start + COLUMNS_AT_ONCE, len(matrix))
        matrix[start:end, end:] = matrix[end:, start:end].T
        square = matrix[start:end, start:end]
        square[:] = np.tril(square) + np.tril(square, -1).T
