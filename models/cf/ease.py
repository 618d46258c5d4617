"""EASE: a linear item-to-item model in closed form (Steck, "Embarrassingly Shallow Autoencoders", WWW 2019).

https://arxiv.org/abs/1905.03375
"""

from dataclasses import dataclass

import numpy as np

from models.cf.matrix import interaction_matrix
from models.config import option
from models.contract.errors import ConfigError
from models.contract.types import Array, Floats
from models.metrics import mean_ndcg
from models.types import Examples, Sequences


@dataclass(frozen=True)
class EASEConfig:
    """How EASE is trained."""

    regs: tuple[float, ...] = option((30.0, 100.0, 300.0, 1000.0), "L2 penalties tried; validation data choose")


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

    Needs memory for about four float64 matrices of n_items squared, and time for one inverse a penalty.

    Raises:
        ConfigError: no penalty is given, or one is not positive.
    """
    if not config.regs or min(config.regs) <= 0:
        raise ConfigError(f"regs: {config.regs}; expected at least one positive number")
    interactions = interaction_matrix(train, n_items)
    gram = np.asarray((interactions.T @ interactions).toarray(), dtype=np.float64)
    scorers = (EASEScorer(_solve(gram, reg), reg) for reg in config.regs)
    return max(scorers, key=lambda scorer: mean_ndcg(scorer, valid))


def _solve(gram: Array, reg: float) -> Floats:
    """Equation 8: B = -P / diag(P) off the diagonal, 0 on it, where P = (XᵀX + λI)⁻¹."""
    precision = np.linalg.inv(gram + reg * np.eye(len(gram)))
    weights = precision / -np.diag(precision)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)
