"""MF-BPR: matrix factorisation with a pairwise loss (Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit
Feedback", UAI 2009), trained by the `implicit` library.

https://arxiv.org/abs/1205.2618. Users are known by their row: what a user did after training changes nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.recommender_base import ModelFitError

from models.cf.matrix import interaction_matrix
from models.cf.training import Progress, silent, stop_early
from models.config import option
from models.contract.types import Floats
from models.evaluation.metrics import mean_ndcg
from models.training.divergence import ADVICE, TrainingError
from models.types import Examples, Sequences


@dataclass(frozen=True)
class MFBPRConfig:
    """How MF-BPR is trained."""

    embedding_size: int = option(64, "Dimensions of users and items", low=1, search=(32, 64, 128, 256))
    learning_rate: float = option(0.05, "Step size of SGD", low=1e-7, high=1.0, search=(0.01, 0.02, 0.05, 0.1))
    reg: float = option(0.01, "L2 penalty", low=0.0, search=(0.001, 0.003, 0.01, 0.03, 0.1))
    passes: int = option(10, "Passes over the interactions in an epoch; after an epoch, validation is looked at", low=1)
    epochs: int = option(50, "Epochs at most", low=1)
    patience: int = option(5, "Epochs without a better validation NDCG@10 after which training stops", low=1)
    seed: int = option(0, "Seed of initial factors and sampling", low=0)


@dataclass(frozen=True)
class MFScorer:
    """``user_factors`` (n_users, d) and ``item_factors`` (n_items, d), float32; a score is their inner product."""

    user_factors: Floats
    item_factors: Floats

    def __call__(self, examples: Examples) -> Floats:
        """See :data:`models.types.Score`."""
        return np.asarray(self.user_factors[examples.users] @ self.item_factors.T, dtype=np.float32)


def train_mf_bpr(
    train: Sequences, valid: Examples, n_items: int, config: MFBPRConfig, progress: Progress = silent
) -> MFScorer:
    """Train on pairs of an item met and one not met (section 4.2), stop early on the validation examples.

    The same seed gives the same factors: one thread, as several would write to shared factors at once.

    Args:
        train: item numbers of every user; order and repetition do not matter.
        valid: what decides when to stop.
        n_items: size of the catalogue.
        config: see :class:`MFBPRConfig`.
        progress: told of every epoch.

    Raises:
        TrainingError: a factor is NaN or infinite, which is all that shows of a loss that diverges.
    """
    interactions = interaction_matrix(train, n_items)
    model = BayesianPersonalizedRanking(
        factors=config.embedding_size,
        learning_rate=config.learning_rate,
        regularization=config.reg,
        iterations=config.passes,
        num_threads=1,
        random_state=np.random.default_rng(config.seed),
    )
    best: list[MFScorer] = []

    def run_epoch(epoch: int) -> float:
        if not _fit(model, interactions):
            raise TrainingError(f"factors are not finite after epoch {epoch} of MF-BPR; {ADVICE}")
        return mean_ndcg(MFScorer(model.user_factors, model.item_factors), valid)

    def keep() -> None:
        best[:] = [MFScorer(model.user_factors.copy(), model.item_factors.copy())]

    stop_early(run_epoch, keep, epochs=config.epochs, patience=config.patience, progress=progress)
    return best[0]


def _fit(model: BayesianPersonalizedRanking, interactions: Any) -> bool:
    """Go on from the factors that the model has. False where one is no finite number afterwards."""
    try:
        model.fit(interactions, show_progress=False)
    except ModelFitError:  # of NaN; what is infinite it does not see
        return False
    return bool(np.isfinite(model.user_factors).all() and np.isfinite(model.item_factors).all())
