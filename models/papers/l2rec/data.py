"""What L2Rec is trained and measured on: examples cut from the users' train parts, and who the user is in them.

An example is a place in a user's train part: the item there is the target, those before it are the history. As in
UniSRec's protocol, prefixes of a sequence are examples, too; here every user's last item in each pass, and some earlier
ones, drawn anew, so that users of long histories do not outweigh the others.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.cf.multvae import embed
from models.contract.cf import CFModel
from models.contract.errors import ConfigError
from models.contract.profile import half
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.types import Examples, Sequences


@dataclass(frozen=True)
class L2RecData:
    """A prepared data set, and the collaborative model whose user embeddings route.

    Args:
        dataset: its train part and validation examples are used.
        cf: of the same items; a user is its fold-in of the history before the target.

    Raises:
        ConfigError: the model is of another catalogue.
    """

    dataset: Dataset
    cf: CFModel

    def __post_init__(self) -> None:
        if self.cf.n_items != len(self.dataset.catalogue):
            raise ConfigError(f"cf: a model of {self.cf.n_items} items; the data set has {len(self.dataset.catalogue)}")

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """(n_train,) the user that each interaction of the train part is of."""
        train = self.dataset.train
        return np.repeat(np.arange(len(train)), np.diff(train.offsets))

    def draw(self, prefixes: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Places in ``dataset.train.items`` of one pass's targets, sorted: each user's last item, and earlier ones.

        Args:
            prefixes: earlier ones of a user, at most; never the first item, before which there is no history.
            rng: draws.
        """
        train = self.dataset.train
        first, last = train.offsets[:-1], train.offsets[1:] - 1
        keys = rng.random(len(train.items))
        keys[last[last >= first]] = -1.0  # before all others of the user
        keys[first[last >= first]] = np.inf
        order = np.lexsort((keys, self.owners))
        rank = np.arange(len(order)) - first[self.owners]
        return np.sort(order[(rank <= prefixes) & (keys[order] < np.inf)]).astype(np.int64)

    def examples(self, places: NDArray[np.int64]) -> Examples:
        """The train part's examples whose targets stand at ``places`` (n,) of ``dataset.train.items``."""
        train, users = self.dataset.train, self.owners[places]
        starts = train.offsets[users]
        histories = [train.items[start:end] for start, end in zip(starts.tolist(), places.tolist(), strict=True)]
        return Examples(users, Sequences.of(histories), train.items[places])


def user_embeddings(cf: CFModel, histories: Sequences) -> Floats:
    """(n, d) who users of these histories are: the fold-in of all of each, as the profile in Redis has it.

    More of the history goes into it than into the prompt, as in the service.
    """
    return half(embed(cf, histories))
