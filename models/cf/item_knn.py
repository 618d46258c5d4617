"""Item-based nearest neighbours (Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", TOIS 2004).

https://doi.org/10.1145/963770.963776. An item is the vector of the users who met it; every item votes for the items
most similar to it. Cosine, shrinkage and tf-idf as in Ferrari Dacrema et al., "Are We Really Making Much Progress?",
RecSys 2019, where well-tuned neighbours beat most neural models (https://arxiv.org/abs/1907.06902).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from models.cf.matrix import interaction_matrix
from models.config import option
from models.contract.types import Floats
from models.types import Sequences

ITEMS_AT_ONCE = 512  # rows of similarities that are dense at one time


@dataclass(frozen=True)
class ItemKNNConfig:
    """How neighbours are found."""

    weighting: Literal["none", "tf-idf"] = option(
        "none", "Whether users count the less the more items they met (tf-idf)", search=("none", "tf-idf")
    )
    shrinkage: float = option(
        30.0,
        "Added to the product of two items' norms, so that few common users count less",
        low=0.0,
        search=(0.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0),
    )
    neighbours: int = option(500, "Neighbours kept of every item", low=1, search=(50, 100, 200, 500, 2000))


@dataclass(frozen=True)
class ItemKNNScorer:
    """``similarities`` is an (n_items, n_items) float32 CSR matrix; row i holds the neighbours of item i."""

    similarities: Any

    def scores(self, histories: Sequences) -> Floats:
        """See :class:`models.types.Scorer`. The sum of the similarities to the history's items."""
        n_items = self.similarities.shape[0]
        votes = interaction_matrix(histories, n_items) @ self.similarities
        return np.asarray(votes.toarray(), dtype=np.float32)


def train_item_knn(train: Sequences, n_items: int, config: ItemKNNConfig) -> ItemKNNScorer:
    """Find every item's neighbours, some items at a time: memory is bounded by what is kept.

    Args:
        train: item numbers of every user; order and repetition do not matter.
        n_items: size of the catalogue.
        config: see :class:`ItemKNNConfig`.
    """
    vectors = _vectors(train, n_items, config.weighting)
    norms = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
    blocks = []
    for start in range(0, n_items, ITEMS_AT_ONCE):
        rows = np.arange(start, min(start + ITEMS_AT_ONCE, n_items))
        similarities = (vectors[rows] @ vectors.T).toarray()
        similarities /= np.maximum(norms[rows, None] * norms + config.shrinkage, np.finfo(np.float32).tiny)
        similarities[np.arange(len(rows)), rows] = 0.0  # nobody is his own neighbour
        blocks.append(_nearest(similarities, config.neighbours))
    return ItemKNNScorer(sparse.vstack(blocks, format="csr", dtype=np.float32))


def _vectors(train: Sequences, n_items: int, weighting: str) -> Any:
    """(n_items, n_users) float32 CSR: the items as documents whose words are users."""
    vectors = interaction_matrix(train, n_items).T.tocsr()
    if weighting == "tf-idf":
        n_met = np.bincount(vectors.indices, minlength=vectors.shape[1])
        vectors.data *= np.log((1 + n_items) / (1 + n_met))[vectors.indices].astype(np.float32)
    return vectors


def _nearest(similarities: Floats, n: int) -> Any:
    """CSR of the ``n`` largest values of every row; of equal ones at the end any, but always the same."""
    if n < similarities.shape[1]:
        others = np.argpartition(-similarities, n, axis=1)[:, n:]
        np.put_along_axis(similarities, others, 0.0, axis=1)
    return sparse.csr_matrix(similarities)
