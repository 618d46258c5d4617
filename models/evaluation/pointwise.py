"""Quality of scores of labelled pairs: AUC, UAUC and NDCG, with bootstrap intervals over users.

Every metric is a weighted mean of values that each user has on its own or each pair of users together, so a sample of
users, drawn with replacement, is a vector of counts, and no ranking is done twice:

- AUC, of all pairs: the share of (liked, not liked) rows that are scored in that order, equal scores counting half;
- UAUC: the mean of the AUC of each user who has rows of both classes (Zhu et al.; CoLLM's public code, plain mean);
- NDCG: the mean over users who liked something of the NDCG of all their rows, gain 1 for a liked one (Järvelin and
  Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques", TOIS 2002), discount 1 / log2(1 + rank). Rows of equal
  score share the mean of their places' discounts.
"""

import numpy as np

from models.contract.types import Array


def auc(scores: Array, labels: Array) -> float:
    """The share of (liked, not liked) rows in that order, equal scores counting half; NaN where a class is missing.

    Args:
        scores: (n,) higher is more likely liked.
        labels: (n,) 0 or 1.
    """
    liked = labels == 1
    n_liked, n_others = int(liked.sum()), int((~liked).sum())
    if not n_liked or not n_others:
        return float("nan")
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0  # of equal scores the mean, from 1 for the lowest
    return float((ranks[places][liked].sum() - n_liked * (n_liked + 1) / 2.0) / (n_liked * n_others))
