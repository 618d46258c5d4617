"""Quality of scores of labelled pairs: AUC, UAUC and NDCG, with bootstrap intervals over users.

- AUC, of all rows: the share of (liked, not liked) rows that are scored in that order, equal scores counting half;
- UAUC: the mean of the AUC of each user with rows of both classes;
- NDCG: the mean, over users who liked something, of the NDCG of all their rows: gain 1 for a liked one, discount
  1 / log2(1 + rank), no cutoff (Järvelin and Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques", TOIS
  2002). Rows of equal score share the mean of their places' discounts.

A user's rows are alike, so users are what is drawn, with replacement: a sample is how often each user is in it. Each
metric is prepared once, and then told these counts: nothing is sorted twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.contract.types import Array, Floats
from models.data.labelled import LabelledPairs
from models.evaluation.metrics import Difference, Interval, Ranks, two_sided_p

RESAMPLES = 1000  # of a bootstrap
WARM = 3  # rows in training that make a user or an item warm


@dataclass(frozen=True)
class Scored:
    """Scored rows: ``users`` (n,) int64 from 0 without gaps, ``labels`` (n,) 0 or 1, ``scores`` (n,)."""

    users: NDArray[np.int64]
    labels: NDArray[np.int8]
    scores: Floats

    @classmethod
    def of(cls, pairs: LabelledPairs, scores: Floats) -> Self:
        """Scores (n,) of the pairs. Raises ValueError where there are more or fewer, or one is no number."""
        if len(scores) != len(pairs) or np.isnan(scores).any():
            raise ValueError(f"scores: {len(scores)} for {len(pairs)} pairs, or NaN; expected a number for each")
        return cls(np.unique(pairs.users, return_inverse=True)[1].astype(np.int64), pairs.labels, scores)

    @property
    def n_users(self) -> int:
        return int(self.users.max(initial=-1)) + 1

    def by_user(self, metric: Callable[[Array, Array], float]) -> Ranks:
        """(n_users,) a metric of each user's scores and labels."""
        order = np.argsort(self.users, kind="stable")
        bounds = np.searchsorted(self.users[order], np.arange(self.n_users + 1))
        rows = [order[start:end] for start, end in pairwise(bounds.tolist())]
        return np.asarray([metric(self.scores[own], self.labels[own]) for own in rows], np.float64)


Resampled = Callable[[NDArray[np.int64]], float]
"""A metric of a sample: told how often each user (n_users,) is in it; NaN where the sample has no value."""


def auc(scores: Array, labels: Array) -> float:
    """The share of (liked, not liked) rows in that order, equal scores counting half; NaN where a class is missing.

    Args:
        scores: (n,) higher is more likely liked.
        labels: (n,) 0 or 1.
    """
    places = np.unique(scores, return_inverse=True)[1]
    return _auc_of(places, (labels == 1).astype(np.float64), (labels != 1).astype(np.float64))


def ndcg_of_list(scores: Array, labels: Array) -> float:
    """NDCG of one user's rows; NaN where none is liked. For the arguments see :func:`auc`."""
    _, places, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    discounts = 1.0 / np.log2(2.0 + np.arange(len(scores)))
    ends = np.cumsum(counts)
    shared = np.add.reduceat(discounts, ends - counts) / counts if len(scores) else discounts
    ideal = discounts[: int((labels == 1).sum())].sum()
    return float(shared[places][labels == 1].sum() / ideal) if ideal else float("nan")


def measure(pairs: LabelledPairs, scores: Floats, seed: int = 0, n_resamples: int = RESAMPLES) -> dict[str, Interval]:
    """AUC, UAUC and NDCG of the scores (n,), each with its 95 % interval; NaN where a metric has no value.

    Args:
        pairs: n of them.
        scores: higher is more likely liked; any scale.
        seed: of the samples.
        n_resamples: how many.
    """
    scored = Scored.of(pairs, scores)
    counts = _counts(scored.n_users, seed, n_resamples)
    metrics = {name: prepare(scored) for name, prepare in METRICS.items()}
    return {name: _interval(_everyone(scored, metric), _values(metric, counts)) for name, metric in metrics.items()}


def compare(
    pairs: LabelledPairs, scores: Floats, baseline: Floats, seed: int = 0, n_resamples: int = RESAMPLES
) -> dict[str, Difference]:
    """How much better ``scores`` are than ``baseline``, of the same pairs: AUC, UAUC and NDCG of the former minus those
    of the latter on the same samples of users. For the arguments see :func:`measure`.
    """
    both = [Scored.of(pairs, scores), Scored.of(pairs, baseline)]
    counts = _counts(both[0].n_users, seed, n_resamples)
    return {name: _difference([prepare(scored) for scored in both], counts) for name, prepare in METRICS.items()}


def subsets(train: LabelledPairs, pairs: LabelledPairs) -> dict[str, NDArray[np.int64]]:
    """Rows of the pairs by how often their user and item occur in training, liked or not.

    Returns:
        ``all``; ``warm``: both at least three times, and ``cold``: the others (CoLLM, section V-B2); ``known``: both
        at least once (``not_cold`` of CoLLM's public code), and ``unknown``: the others.
    """
    fewest = np.minimum(_occurrences(train.users, pairs.users), _occurrences(train.items, pairs.items))
    return {
        "all": np.arange(len(pairs)),
        "warm": np.flatnonzero(fewest >= WARM),
        "cold": np.flatnonzero(fewest < WARM),
        "known": np.flatnonzero(fewest >= 1),
        "unknown": np.flatnonzero(fewest < 1),
    }


def _resampled_auc(scored: Scored) -> Resampled:
    places = np.unique(scored.scores, return_inverse=True)[1]
    liked = scored.labels == 1

    def of(counts: NDArray[np.int64]) -> float:
        weights = counts[scored.users]
        return _auc_of(places, weights * liked, weights * ~liked)

    return of


def _resampled_uauc(scored: Scored) -> Resampled:
    return _mean_over_users(scored.by_user(auc))


def _resampled_ndcg(scored: Scored) -> Resampled:
    return _mean_over_users(scored.by_user(ndcg_of_list))


METRICS: Mapping[str, Callable[[Scored], Resampled]] = {
    "AUC": _resampled_auc,
    "UAUC": _resampled_uauc,
    "NDCG": _resampled_ndcg,
}


def _auc_of(places: Array, liked: Array, others: Array) -> float:
    """AUC of weighted rows: ``places`` (n,) of their scores among the distinct ones, and each row's weight by class."""
    n_liked, n_others = liked.sum(), others.sum()
    if not n_liked or not n_others:
        return float("nan")
    liked_at, others_at = np.bincount(places, liked), np.bincount(places, others)
    below = np.cumsum(others_at) - others_at / 2.0
    return float(liked_at @ below / (n_liked * n_others))


def _mean_over_users(values: Ranks) -> Resampled:
    """The mean of users' values (n_users,), of those who have one."""
    there = ~np.isnan(values)
    kept = np.where(there, values, 0.0)

    def of(counts: NDArray[np.int64]) -> float:
        n = counts @ there
        return float(counts @ kept / n) if n else float("nan")

    return of


def _counts(n_users: int, seed: int, n_resamples: int) -> NDArray[np.int64]:
    """(n_resamples, n_users) how often each user is in each sample of as many users."""
    if not n_users:
        return np.zeros((n_resamples, 0), np.int64)
    return np.random.default_rng(seed).multinomial(n_users, np.full(n_users, 1.0 / n_users), size=n_resamples)


def _values(metric: Resampled, counts: NDArray[np.int64]) -> Ranks:
    return np.asarray([metric(sample) for sample in counts], np.float64)


def _everyone(scored: Scored, metric: Resampled) -> float:
    return metric(np.ones(scored.n_users, np.int64))


def _interval(value: float, resampled: Ranks) -> Interval:
    """Of the samples that have a value; NaN where the whole has none."""
    if np.isnan(value):
        return Interval(value, value, value)
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _difference(metrics: list[Resampled], counts: NDArray[np.int64]) -> Difference:
    once = np.ones(counts.shape[1], np.int64)
    value = metrics[0](once) - metrics[1](once)
    resampled = _values(metrics[0], counts) - _values(metrics[1], counts)
    return Difference(_interval(value, resampled), two_sided_p(resampled[~np.isnan(resampled)]))


def _occurrences(known: Array, asked: Array) -> NDArray[np.int64]:
    """(n,) how often each number that is asked for is among the known ones."""
    n = 1 + max(int(known.max(initial=-1)), int(asked.max(initial=-1)))
    return np.bincount(known, minlength=n)[asked].astype(np.int64)
