"""Metrics against their definitions, written out slowly."""

import math

import numpy as np
import pytest

from models.contract.index import top_n
from models.contract.types import Floats, Ints
from models.evaluation.metrics import (
    NO_ITEM,
    bootstrap,
    evaluate_scorer,
    hit_rate,
    mean_ndcg,
    mrr,
    ndcg,
    paired_bootstrap,
    rank_scores,
    ranks_in_lists,
    ranks_of_targets,
)
from models.types import Examples, Sequences, by_history


def sequences(*rows: list[int]) -> Sequences:
    return Sequences.of([np.asarray(row, np.int32) for row in rows])


def ints(*values: int) -> Ints:
    return np.asarray(values, np.int32)


def floats(*rows: list[float]) -> Floats:
    return np.asarray(rows, np.float32)


class LookUp:
    """Scores every history by the row that its first item names."""

    def __init__(self, table: Floats) -> None:
        self.table = table

    def scores(self, histories: Sequences) -> Floats:
        return np.stack([self.table[histories[row][0]] for row in range(len(histories))])


def slow_metrics(served: list[int], target: int, n: int) -> tuple[float, float, float]:
    for place, item in enumerate(served[:n], start=1):
        if item == target:
            return 1.0, 1 / math.log2(place + 1), 1 / place
    return 0.0, 0.0, 0.0


@pytest.mark.parametrize("n", [1, 3, 10])
def test_metrics_of_lists_equal_the_literal_definition(n: int) -> None:
    rng = np.random.default_rng(1)
    lists = np.stack([rng.permutation(15)[:10] for _ in range(50)]).astype(np.int32)
    targets = rng.integers(15, size=50).astype(np.int32)
    expected = np.array([slow_metrics(row.tolist(), int(t), n) for row, t in zip(lists, targets, strict=True)])
    ranks = ranks_in_lists(lists, targets)
    np.testing.assert_allclose(np.stack([hit_rate(ranks, n), ndcg(ranks, n), mrr(ranks, n)], axis=1), expected)


def test_target_that_is_not_listed_is_a_miss() -> None:
    ranks = ranks_in_lists(np.asarray([[4, 2, NO_ITEM], [4, 2, 7]], np.int32), ints(3, 7))
    assert ranks.tolist() == [math.inf, 3.0]
    assert mrr(ranks, 3).tolist() == [0.0, pytest.approx(1 / 3)]


def test_ranks_of_targets_equal_a_slow_count() -> None:
    rng = np.random.default_rng(2)
    scores = rng.integers(6, size=(40, 12)).astype(np.float32)  # many ties
    excluded = Sequences.of([rng.permutation(12)[:3].astype(np.int32) for _ in range(40)])
    targets = rng.integers(12, size=40).astype(np.int32)
    for row, rank in enumerate(ranks_of_targets(scores, targets, excluded)):
        target, hidden = targets[row], set(excluded[row].tolist())
        others = [scores[row, i] for i in range(12) if i not in hidden and i != target]
        wanted = scores[row, target]
        slow = 1 + sum(s > wanted for s in others) + sum(s == wanted for s in others) / 2
        assert rank == (math.inf if target in hidden else slow)


def test_model_without_an_opinion_does_not_rank_the_target_first() -> None:
    ranks = ranks_of_targets(np.zeros((1, 101), np.float32), ints(0), sequences([]))
    assert ranks.tolist() == [51.0]
    assert hit_rate(ranks, 10).tolist() == [0.0]


def test_scores_that_are_no_numbers_are_never_shown_and_never_hit() -> None:
    scores = floats([math.nan, 1.0, -math.inf, 2.0])
    assert rank_scores(scores, sequences([]), 4).tolist() == [[3, 1, NO_ITEM, NO_ITEM]]
    for target, rank in [(0, math.inf), (2, math.inf), (1, 2.0), (3, 1.0)]:
        assert ranks_of_targets(scores, ints(target), sequences([])).tolist() == [rank]


def test_scores_are_not_changed() -> None:
    scores = floats([3.0, math.nan, 1.0])
    before = scores.copy()
    rank_scores(scores, sequences([0]), 2)
    ranks_of_targets(scores, ints(2), sequences([0]))
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize("n", [1, 5, 20])
def test_rank_scores_equals_the_ranking_that_is_served(n: int) -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(5, size=(60, 12)).astype(np.float32)
    excluded = [rng.permutation(12)[: row % 12].astype(np.int32) for row in range(60)]
    lists = rank_scores(scores, Sequences.of(excluded), n)
    assert lists.shape == (60, n)
    for row, served in enumerate(lists):
        expected = top_n(scores[row], n, excluded[row]).items
        np.testing.assert_array_equal(served[served != NO_ITEM], expected)


def test_rank_scores_of_no_users_and_of_no_places() -> None:
    assert rank_scores(np.empty((0, 5), np.float32), sequences(), 3).shape == (0, 3)
    assert rank_scores(np.zeros((2, 5), np.float32), sequences([], []), 0).shape == (2, 0)


def test_evaluation_keeps_the_order_of_examples_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.types.SCORED_AT_ONCE", 2)
    table = floats([9.0, 3.0, 2.0, 1.0], [1.0, 9.0, 2.0, 3.0], [3.0, 2.0, 9.0, 1.0])
    examples = Examples(np.arange(3), sequences([0], [1], [2]), ints(1, 3, 3))
    assert evaluate_scorer(by_history(LookUp(table)), examples, 2).tolist() == [[1, 2], [3, 2], [0, 1]]
    assert mean_ndcg(by_history(LookUp(table)), examples, 2) == pytest.approx(2 / 3)


def test_only_what_is_allowed_is_listed_in_the_order_of_its_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.types.SCORED_AT_ONCE", 2)
    allowed = np.asarray([[2, 0, 3], [4, 1, 0], [3, 4, 2]], np.int32)
    examples = Examples(np.arange(3), sequences([3], [], []), ints(0, 1, 2))

    lists = evaluate_scorer(lambda batch: np.tile(floats([1, 2, 3, 4, 5]), (len(batch), 1)), examples, 3, allowed)

    assert lists.tolist() == [[2, 0, NO_ITEM], [4, 1, 0], [4, 3, 2]]


def test_a_model_may_know_its_users_by_row() -> None:
    table = floats([0.0, 1.0, 2.0], [2.0, 1.0, 0.0])
    examples = Examples(np.asarray([1, 0, 1]), sequences([], [], []), ints(0, 2, 0))
    assert mean_ndcg(lambda batch: table[batch.users], examples, 1) == 1.0


def test_evaluation_of_no_examples() -> None:
    examples = Examples(np.empty(0, np.int64), sequences(), ints())
    assert evaluate_scorer(by_history(LookUp(floats([1.0]))), examples, 3).shape == (0, 3)
    assert mean_ndcg(by_history(LookUp(floats([1.0]))), examples) == 0.0


def test_bootstrap_interval_has_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(4).normal(5.0, 2.0, size=400)
    interval = bootstrap(values, seed=0, n_resamples=4000)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
    assert interval.low < interval.mean < interval.high


def test_bootstrap_depends_on_its_seed_only() -> None:
    values = np.random.default_rng(5).random(30)
    assert bootstrap(values, seed=1, n_resamples=100) == bootstrap(values, seed=1, n_resamples=100)
    assert bootstrap(values, seed=1, n_resamples=100) != bootstrap(values, seed=2, n_resamples=100)


def test_bootstrap_of_nothing_is_no_number() -> None:
    assert math.isnan(bootstrap(np.empty(0), seed=0).mean)


def test_paired_bootstrap_sees_a_small_but_constant_gain() -> None:
    baseline = np.random.default_rng(6).random(200)
    difference = paired_bootstrap(baseline + 0.01, baseline, seed=0)
    assert difference.interval.mean == pytest.approx(0.01)
    assert difference.p_value == pytest.approx(2 / 4001)


def test_paired_bootstrap_of_equal_models_is_not_significant() -> None:
    values = np.random.default_rng(7).random(100)
    assert paired_bootstrap(values, values, seed=0).p_value == 1.0
    noise = np.random.default_rng(8).normal(size=100)
    noise -= noise.mean()
    assert paired_bootstrap(values + noise, values, seed=0).p_value > 0.5


def test_paired_bootstrap_refuses_other_examples() -> None:
    with pytest.raises(ValueError, match="got 3 and 2"):
        paired_bootstrap(np.zeros(3), np.zeros(2), seed=0)


def test_without_a_cutoff_every_rank_counts() -> None:
    scores = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]], np.float32)
    examples = Examples(np.array([0, 1]), Sequences.of([np.empty(0, np.int32)] * 2), np.array([0, 3], np.int32))

    assert mean_ndcg(lambda examples: scores, examples, n=3) == 0.0
    assert mean_ndcg(lambda examples: scores, examples, n=None) == pytest.approx(1 / np.log2(5))
