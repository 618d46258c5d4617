"""What lists make of the catalogue: how much of it they show, and how far they lean to what is popular anyway."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from models.contract.types import Ints
from models.evaluation.metrics import NO_ITEM


@dataclass(frozen=True)
class CatalogueUse:
    """Of the first n places of all lists together.

    Args:
        coverage: share of the catalogue that is in at least one list.
        gini: how unevenly the places are shared out among all items: 0 evenly, towards 1 to one item.
        mean_log_popularity: mean of ln(1 + training interactions) over the places: popularity bias.
    """

    coverage: float
    gini: float
    mean_log_popularity: float


def catalogue_use(lists: Ints, n: int, training_counts: NDArray[np.int64]) -> CatalogueUse:
    """Measure the first ``n`` of lists (m, length), given the training interactions (n_items,) of every item.

    The mean popularity is 0 where no item is listed.
    """
    shown = lists[:, :n]
    shown = shown[shown != NO_ITEM]
    counts = np.bincount(shown, minlength=len(training_counts))
    popularity = np.log1p(training_counts[shown]).mean() if len(shown) else 0.0
    return CatalogueUse(float((counts > 0).mean()), gini(counts), float(popularity))


def mean_use(uses: Sequence[CatalogueUse]) -> CatalogueUse:
    """The mean over several runs, each use by itself."""
    return CatalogueUse(
        fmean(use.coverage for use in uses),
        fmean(use.gini for use in uses),
        fmean(use.mean_log_popularity for use in uses),
    )


def gini(counts: NDArray[np.int64]) -> float:
    """Gini coefficient of non-negative counts (n,); 0 where all are 0."""
    n, total = len(counts), counts.sum()
    if total == 0:
        return 0.0
    places = np.arange(1, n + 1)
    return float((2 * places - n - 1) @ np.sort(counts) / (n * total))
