"""Fusion of ranked lists: Count, RRF and wRRF of L3Rec (CIKM 2025), equations 5, 6 and 8, and the fusion of scores.

Every method is one sum over the lists that hold an item; they differ in the vote of a list and in its weight. Ties are
broken by the best rank in any list, then by item number, so that the same lists always give the same result.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.contract.types import Array, Floats, Membership, RankedList


class FusionMethod(StrEnum):
    """How lists are combined."""

    COUNT = "count"
    RRF = "rrf"
    WRRF_CF = "wrrf_cf"
    WRRF_LLM = "wrrf_llm"
    SCORES = "scores"


def list_weights(method: FusionMethod, memberships: Sequence[Membership]) -> list[float]:
    """Weight of each community's list under ``method``: 1, or the user's w_u^(j) of equation 6."""
    if method is FusionMethod.WRRF_CF:
        return [m.cf_weight for m in memberships]
    if method is FusionMethod.WRRF_LLM:
        return [m.llm_weight for m in memberships]
    return [1.0] * len(memberships)


def accuracy_weights(accuracies: Floats) -> Floats:
    """Weights of wRRF(LLM), section 5.5.1 of L3Rec: the softmax over one user's local models of their accuracy.

    Args:
        accuracies: (m,) NDCG@5 of each of the user's local models on items held out from that user.

    Returns:
        (m,) weights that sum to 1.
    """
    powers = np.exp(accuracies.astype(np.float64))
    return np.asarray(powers / powers.sum(), dtype=np.float32)


def fuse(
    lists: Sequence[RankedList], weights: Sequence[float], method: FusionMethod, k: float, count_depth: int = 10
) -> RankedList:
    """Fuse ranked lists into one.

    Args:
        lists: lists of distinct item numbers, best first. Ranks start at 1.
        weights: one weight per list; equation 6's w_u^(j), or 1 for equation 5.
        method: ``count`` counts the lists that hold an item among their first ``count_depth``; ``scores`` adds up how
            many standard deviations of its list's scores an item is above the last of the list (Montague and Aslam,
            2001). A list that does not hold an item is taken to rank it last. Scores of any unit and offset can be
            fused: log-probabilities, logits, similarities.
        k: damping constant of equations 5 and 6, at least 0.
        count_depth: how far down a list ``count`` looks.

    Returns:
        Every item of every list, best first, with its fused score.
    """
    if not lists:
        return RankedList(np.empty(0, np.int32), np.empty(0, np.float32))
    lengths = [len(ranking) for ranking in lists]
    ranks = np.concatenate([np.arange(1, length + 1) for length in lengths])
    items, inverse = np.unique(np.concatenate([ranking.items for ranking in lists]), return_inverse=True)
    votes = _votes(lists, ranks, method, k, count_depth) * np.repeat(np.asarray(weights, np.float64), lengths)
    scores = np.bincount(inverse, weights=votes, minlength=len(items))
    best_rank = np.full(len(items), np.iinfo(np.int64).max)
    np.minimum.at(best_rank, inverse, ranks)
    order = np.lexsort((items, best_rank, -np.round(scores, 12)))
    return RankedList(items[order].astype(np.int32), scores[order].astype(np.float32))


def _votes(
    lists: Sequence[RankedList], ranks: Array, method: FusionMethod, k: float, count_depth: int
) -> NDArray[np.float64]:
    """What each entry of each list adds to its item's score, before the list's weight."""
    if method is FusionMethod.COUNT:
        return (ranks <= count_depth).astype(np.float64)
    if method is FusionMethod.SCORES:
        return np.concatenate([_standardised(ranking.scores.astype(np.float64)) for ranking in lists])
    return np.asarray(1.0 / (k + ranks), dtype=np.float64)


def _standardised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores as standard deviations above the last; zeros where all are equal."""
    above = scores - scores.min(initial=np.inf)
    spread: float = above.std() if above.any() else 1.0
    return np.asarray(above / spread, dtype=np.float64)
