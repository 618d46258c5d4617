"""Limited data (section 3.4): what is left where only some of the users are trained on."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import Dataset
from models.data.splits import TRAIN, VALID

DRAW_SEED = 0  # of the order in which users are taken


def drawn_users(n_users: int, share: float) -> NDArray[np.bool_]:
    """Which of the users, (n_users,), are trained on: at least one, and all of those that a smaller share has."""
    order = np.random.default_rng(DRAW_SEED).permutation(n_users)
    chosen = np.zeros(n_users, np.bool_)
    chosen[order[: max(1, round(share * n_users))]] = True
    return chosen


def with_share(dataset: Dataset, share: float) -> Dataset:
    """The same items, validation and test examples; only a share of the users has a train part.

    What the others did before their validation item is no longer a train part, but stays in the histories that
    examples show: a model must rank for users whom it was not trained on.
    """
    if share == 1:
        return dataset
    left_out = np.repeat(~drawn_users(len(dataset.full), share), np.diff(dataset.full.offsets))
    return replace(dataset, labels=np.where(left_out & (dataset.labels == TRAIN), np.int8(VALID), dataset.labels))
