"""Offline quality of ranked lists: HR, NDCG and MRR over the full catalogue, with bootstrap intervals.

Everything goes through *ranks*: one float per example, 1 for the first place, infinity where the target would not be
shown. They come from served lists (:func:`ranks_in_lists`) or from score matrices (:func:`ranks_of_targets`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.contract.types import Array, Floats, Ints
from models.types import Examples, Score, Sequences, chunks_of

NO_ITEM = -1  # fills up the lists of users for whom fewer items remain than were asked for
SIGNIFICANT = 0.05  # p-values below it are marked in tables and pictures
RESAMPLES = 4000  # of a bootstrap: p-values down to 0.0005

Ranks = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, its 95 % bootstrap confidence interval, and the two-sided p-value."""

    interval: Interval
    p_value: float


def evaluate_scorer(score: Score, examples: Examples, n: int, allowed: Ints | None = None) -> Ints:
    """The lists that would be served: (n_examples, n) int32, see :func:`rank_scores`.

    Items of the history are left out; ``allowed`` is (n_examples, c), or None for the whole catalogue.
    """
    lists = np.full((len(examples), n), NO_ITEM, np.int32)
    for rows in chunks_of(np.arange(len(examples))):
        batch = examples.take(rows)
        lists[rows] = rank_scores(score(batch), batch.histories, n, None if allowed is None else allowed[rows])
    return lists


def mean_ndcg(score: Score, examples: Examples, n: int | None = 10) -> float:
    """Mean NDCG@n over the full ranking, items of the history left out; 0 without examples. For early stopping.

    Without a cutoff (None) it moves with every example, where NDCG@10 of a few hundred examples is mostly noise.
    """
    batches = (examples.take(rows) for rows in chunks_of(np.arange(len(examples))))
    ranks = [ranks_of_targets(score(batch), batch.targets, batch.histories) for batch in batches]
    return float(ndcg(np.concatenate(ranks), np.inf if n is None else n).mean()) if ranks else 0.0


def rank_scores(scores: Floats, excluded: Sequences, n: int, allowed: Ints | None = None) -> Ints:
    """The best ``n`` items of every row, as :func:`models.contract.index.top_n` ranks one row.

    Args:
        scores: (m, n_items) float32, higher is better; NaN and -inf are never listed.
        excluded: m sequences of item numbers never listed.
        n: length of the lists.
        allowed: (m, c) item numbers, the only ones listed; None for the whole catalogue.

    Returns:
        (m, n) int32 item numbers, best first, equal scores by item number, ``NO_ITEM`` where none remain.
    """
    masked = _masked(scores, excluded)
    if allowed is not None:
        masked = _only(masked, allowed)
    m, n_items = masked.shape
    kept = min(n, n_items)
    lists = np.full((m, n), NO_ITEM, np.int32)
    if m == 0 or kept == 0:
        return lists
    items = np.nonzero(_best(masked, kept))[1].reshape(m, kept)
    values = np.take_along_axis(masked, items, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    ranked = np.take_along_axis(items, order, axis=1)
    servable = np.take_along_axis(values, order, axis=1) > -np.inf
    lists[:, :kept] = np.where(servable, ranked, NO_ITEM)
    return lists


def ranks_in_lists(lists: Ints, targets: Ints) -> Ranks:
    """Rank of each target (m,) in its list (m, n): 1 for the first place, infinity where it is missing."""
    hits = lists == targets[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.inf)


def ranks_of_targets(scores: Floats, targets: Ints, excluded: Sequences) -> Ranks:
    """Rank of each target among all items that are not excluded; items of equal score count half.

    Counting ties half keeps a model without an opinion (all scores equal) from ranking every target first.

    Args:
        scores: (m, n_items) float32, higher is better; NaN counts as -inf.
        targets: (m,) item numbers.
        excluded: m sequences of item numbers.

    Returns:
        (m,) float64: 1 + items above + half of the others that are equal. Infinity where the target is excluded or its
        score is -inf: it would never be shown.
    """
    masked = _masked(scores, excluded)
    wanted = masked[np.arange(len(targets)), targets][:, None]
    above = (masked > wanted).sum(axis=1)
    equal = (masked == wanted).sum(axis=1) - 1
    return np.where(wanted[:, 0] > -np.inf, 1.0 + above + equal / 2.0, np.inf)


def hit_rate(ranks: Ranks, n: int) -> Ranks:
    """HR@n of each example (= Recall@n, as there is one target): 1 where the target is among the first ``n``."""
    return (ranks <= n).astype(np.float64)


def ndcg(ranks: Ranks, n: float) -> Ranks:
    """NDCG@n of each example: 1 / log2(1 + rank) among the first ``n``, else 0 (the ideal DCG of one target is 1)."""
    return np.where(ranks <= n, 1.0 / np.log2(1.0 + ranks), 0.0)


def mrr(ranks: Ranks, n: int) -> Ranks:
    """MRR@n of each example: 1 / rank among the first ``n``, else 0."""
    return np.where(ranks <= n, 1.0 / ranks, 0.0)


def bootstrap(values: Ranks, seed: int, n_resamples: int = RESAMPLES) -> Interval:
    """Mean of per-example values (m,) with its percentile bootstrap interval; NaN without examples."""
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    return _interval(values, _resampled_means(values, seed, n_resamples))


def paired_bootstrap(values: Ranks, baseline: Ranks, seed: int, n_resamples: int = RESAMPLES) -> Difference:
    """Is ``values`` better than ``baseline``, both (m,) of the same examples in the same order?

    Returns:
        The mean of ``values - baseline`` with its interval, and :func:`two_sided_p`.

    Raises:
        ValueError: the two do not have the same, non-zero length.
    """
    if len(values) != len(baseline) or len(values) == 0:
        raise ValueError(f"paired values: got {len(values)} and {len(baseline)}; expected the same examples twice")
    differences = values - baseline
    means = _resampled_means(differences, seed, n_resamples)
    return Difference(_interval(differences, means), two_sided_p(means))


def two_sided_p(differences: Ranks) -> float:
    """The p-value of resampled differences (m,): twice the share on the rarer side of zero.

    Each count plus one, so it is never 0.
    """
    tail = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2.0 * (tail + 1) / (len(differences) + 1))


def _masked(scores: Floats, excluded: Sequences) -> Floats:
    masked = np.where(np.isnan(scores), -np.inf, scores).astype(np.float32, copy=False)
    rows = np.repeat(np.arange(len(excluded)), np.diff(excluded.offsets))
    masked[rows, excluded.items] = -np.inf
    return masked


def _only(scores: Floats, allowed: Ints) -> Floats:
    """The scores of the items allowed (m, c), -inf elsewhere."""
    kept = np.full_like(scores, -np.inf)
    np.put_along_axis(kept, allowed, np.take_along_axis(scores, allowed, axis=1), axis=1)
    return kept


def _best(scores: Floats, n: int) -> Array:
    """(m, n_items) bool, exactly ``n`` true a row: the best scores, of those equal to the worst the first items."""
    n_items = scores.shape[1]
    worst = np.partition(scores, n_items - n, axis=1)[:, n_items - n, None]
    above = scores > worst
    equal = scores == worst
    free = n - above.sum(axis=1, keepdims=True)
    best: Array = above | (equal & (np.cumsum(equal, axis=1) <= free))
    return best


def _resampled_means(values: Ranks, seed: int, n_resamples: int) -> Ranks:
    """Means of ``n_resamples`` samples with replacement.

    A metric of a rank takes few values, and all that a sample can change is how often it has each of them. So these
    counts are drawn, not the examples: the same distribution for a hundredth of the work.
    """
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=n_resamples)
    return np.asarray(drawn @ distinct / len(values), dtype=np.float64)


def _interval(values: Ranks, resampled_means: Ranks) -> Interval:
    low, high = np.quantile(resampled_means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
