"""Fusion of the communities' ranked lists: Count, RRF and wRRF of L3Rec (CIKM 2025), equations 5, 6 and 8.

RRF and wRRF are one sum; they differ in the weights only. Ties are broken by the best rank in any list, then by item
number, so that the same lists always give the same result.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from models.contract.types import Ints, Membership, RankedList


class FusionMethod(StrEnum):
    """How lists are combined."""

    COUNT = "count"
    RRF = "rrf"
    WRRF_CF = "wrrf_cf"
    WRRF_LLM = "wrrf_llm"


def list_weights(method: FusionMethod, memberships: Sequence[Membership]) -> list[float]:
    """Weight of each community's list under ``method``: 1, or the user's affinity w_u^(j) of equation 6."""
    if method is FusionMethod.WRRF_CF:
        return [m.cf_weight for m in memberships]
    if method is FusionMethod.WRRF_LLM:
        return [m.llm_weight for m in memberships]
    return [1.0] * len(memberships)


def fuse(
    lists: Sequence[Ints], weights: Sequence[float], method: FusionMethod, k: float, count_depth: int = 10
) -> RankedList:
    """Fuse ranked lists into one.

    Args:
        lists: one array of distinct item numbers per community, best first. Ranks start at 1.
        weights: one weight per list; equation 6's w_u^(j), or 1 for equation 5.
        method: ``count`` counts the lists that hold an item among their first ``count_depth``.
        k: damping constant of equations 5 and 6, at least 0.
        count_depth: how far down a list ``count`` looks.

    Returns:
        Every item of every list, best first, with its fused score.
    """
    if not lists:
        return RankedList(np.empty(0, np.int32), np.empty(0, np.float32))
    ranks = np.concatenate([np.arange(1, len(items) + 1) for items in lists])
    owners = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    items, inverse = np.unique(np.concatenate(lists), return_inverse=True)
    if method is FusionMethod.COUNT:
        votes = (ranks <= count_depth).astype(np.float64)
    else:
        votes = np.asarray(weights, dtype=np.float64)[owners] / (k + ranks)
    scores = np.bincount(inverse, weights=votes, minlength=len(items))
    best_rank = np.full(len(items), np.iinfo(np.int64).max)
    np.minimum.at(best_rank, inverse, ranks)
    order = np.lexsort((items, best_rank, -np.round(scores, 12)))
    return RankedList(items[order].astype(np.int32), scores[order].astype(np.float32))
