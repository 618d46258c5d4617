"""What L2Rec is trained and measured on: examples cut from the users' train parts, and who the user is in them."""

from dataclasses import dataclass

from models.contract.cf import CFModel
from models.data.dataset import Dataset


@dataclass(frozen=True)
class L2RecData:
    """A prepared data set, and the collaborative model whose user embeddings route.

    Args:
        dataset: its train part and validation examples are used.
        cf: of the same items; a user is its fold-in of the history that is shown.
    """

    dataset: Dataset
    cf: CFModel
