"""D_j of equation 3: whose sequences a model is trained on, and how much each counts."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.contract.errors import ConfigError
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.types import Examples, Sequences


@dataclass(frozen=True)
class TrainingSet:
    """What one model is trained on.

    Args:
        sequences: of n users, oldest item first.
        user_weights: (n,) weight of each user's loss.
        valid: validation examples that decide when to stop.
        ordered: False where a history is a set (the top-n task): its items are shuffled in every epoch.
    """

    sequences: Sequences
    user_weights: Floats
    valid: Examples
    ordered: bool = True

    @classmethod
    def of_all(cls, dataset: Dataset, *, ordered: bool = True) -> Self:
        """All users, of equal weight: what the global model is trained on."""
        return cls(dataset.train, np.ones(len(dataset.train), np.float32), dataset.examples("valid"), ordered)

    @classmethod
    def of_community(
        cls,
        dataset: Dataset,
        affinity: Floats,
        item_affinity: Floats | None = None,
        *,
        weighted: bool = True,
        ordered: bool = True,
    ) -> Self:
        """D_j of equation 3: the community's users, and with user-and-item assignment only its items.

        Args:
            dataset: train part and validation examples are used.
            affinity: (n_users,) w_u^(j) of equation 2; users with 0 are not in the community.
            item_affinity: (n_items,), 0 outside V_j; None takes all items.
            weighted: weight users by affinity, as LOCA does; else equally.
            ordered: see the class.

        Raises:
            ConfigError: nobody belongs to the community.
        """
        members = np.flatnonzero(members_of(affinity))
        weights = affinity[members] if weighted else np.ones(len(members), np.float32)
        valid = dataset.examples("valid")
        valid = valid.take(np.flatnonzero(np.isin(valid.users, members)))
        sequences = dataset.train.take(members)
        if item_affinity is not None:
            sequences = sequences.keep(item_affinity > 0)
            valid = valid.take(np.flatnonzero(item_affinity[valid.targets] > 0))
        return cls(sequences, weights.astype(np.float32), valid, ordered)


def members_of(affinity: Floats) -> NDArray[np.bool_]:
    """Which users (n_users,) are in a community: those whose affinity, w_u^(j) of equation 2, is not 0.

    Raises:
        ConfigError: nobody is.
    """
    members = affinity > 0
    if not members.any():
        raise ConfigError("communities.bandwidth: a community has no users; expected a larger bandwidth")
    return members
