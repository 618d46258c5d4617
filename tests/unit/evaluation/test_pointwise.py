"""AUC, UAUC and NDCG of labelled pairs, against literal counts."""

from dataclasses import dataclass

import numpy as np
import pytest

from models.contract.types import Floats, item_numbers
from models.data.labelled import LabelledPairs
from models.evaluation.metrics import Ranks
from models.evaluation.pointwise import METRICS, Scored, auc, compare, measure, ndcg_of_list, subsets
from models.types import Sequences


@dataclass(frozen=True)
class Case:
    pairs: LabelledPairs
    scores: Floats


def pairs_of(users: list[int], labels: list[int], items: list[int] | None = None) -> LabelledPairs:
    nothing = Sequences.of([item_numbers([])] * len(users))
    numbers = item_numbers(items or [0] * len(users))
    return LabelledPairs(np.asarray(users, np.int64), numbers, np.asarray(labels, np.int8), nothing)


@pytest.fixture
def case() -> Case:
    """Thirty users of one to twenty rows, scores with many ties; a user's rows are not together."""
    rng = np.random.default_rng(0)
    users = rng.permutation(np.repeat(7 * np.arange(30), rng.integers(1, 21, 30)))
    labels = rng.integers(0, 2, len(users))
    scores = (labels + rng.normal(size=len(users)) * 2).round(0).astype(np.float32)
    return Case(pairs_of(users.tolist(), labels.tolist()), scores)


def literal_auc(scores: Floats, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Over all pairs of rows, as it is defined."""
    weights = np.ones(len(scores)) if weights is None else weights
    right = total = 0.0
    for i in np.flatnonzero(labels == 1):
        for j in np.flatnonzero(labels == 0):
            total += weights[i] * weights[j]
            right += weights[i] * weights[j] * ((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2)
    return right / total if total else float("nan")


def literal_ndcg(scores: Floats, labels: np.ndarray) -> float:
    """The mean over many orders of the rows of equal score."""
    rng, values = np.random.default_rng(1), []
    for _ in range(4000):
        shuffled = rng.permutation(len(scores))
        order = shuffled[np.argsort(-scores[shuffled], kind="stable")]
        values.append(sum(labels[row] / np.log2(2 + place) for place, row in enumerate(order)))
    ideal = sum(1 / np.log2(2 + place) for place in range(int(labels.sum())))
    return float(np.mean(values) / ideal)


def literal_by_user(case: Case) -> Ranks:
    users = np.unique(case.pairs.users)
    rows = [np.flatnonzero(case.pairs.users == user) for user in users]
    return np.asarray([literal_auc(case.scores[r], case.pairs.labels[r]) for r in rows])


def test_auc_is_the_share_of_pairs_in_order(case: Case) -> None:
    assert auc(case.scores, case.pairs.labels) == pytest.approx(literal_auc(case.scores, case.pairs.labels))


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [([2, 1], [1, 0], 1.0), ([1, 2], [1, 0], 0.0), ([1, 1], [1, 0], 0.5), ([3, 2, 1], [1, 0, 1], 0.5)],
)
def test_auc_by_hand(scores: list[float], labels: list[int], expected: float) -> None:
    assert auc(np.asarray(scores, np.float32), np.asarray(labels)) == expected


@pytest.mark.parametrize("labels", [[], [1, 1], [0]])
def test_auc_of_one_class_has_no_value(labels: list[int]) -> None:
    assert np.isnan(auc(np.zeros(len(labels), np.float32), np.asarray(labels)))


def test_ndcg_by_hand() -> None:
    scores, labels = np.asarray([3.0, 2.0, 1.0], np.float32), np.asarray([0, 1, 1])
    discounts = 1 / np.log2([2, 3, 4])
    assert ndcg_of_list(scores, labels) == pytest.approx((discounts[1] + discounts[2]) / (discounts[0] + discounts[1]))


def test_ndcg_of_ties_is_the_mean_over_their_orders() -> None:
    scores, labels = np.asarray([2, 1, 1, 1, 0], np.float32), np.asarray([0, 1, 0, 0, 1])
    assert ndcg_of_list(scores, labels) == pytest.approx(literal_ndcg(scores, labels), abs=0.01)


@pytest.mark.parametrize("labels", [[], [0, 0]])
def test_ndcg_without_a_liked_row_has_no_value(labels: list[int]) -> None:
    assert np.isnan(ndcg_of_list(np.zeros(len(labels), np.float32), np.asarray(labels)))


def test_uauc_is_the_mean_over_users_with_both_classes(case: Case) -> None:
    by_user = literal_by_user(case)
    assert np.isnan(by_user).any()
    assert measure(case.pairs, case.scores)["UAUC"].mean == pytest.approx(np.nanmean(by_user))


def test_a_sample_is_measured_as_if_its_users_rows_were_repeated(case: Case) -> None:
    counts = np.random.default_rng(2).integers(0, 3, 30)
    metrics = {name: prepare(Scored.of(case.pairs, case.scores)) for name, prepare in METRICS.items()}
    weights = counts[np.unique(case.pairs.users, return_inverse=True)[1]]
    assert metrics["AUC"](counts) == pytest.approx(literal_auc(case.scores, case.pairs.labels, weights))
    by_user = np.repeat(literal_by_user(case), counts)
    assert metrics["UAUC"](counts) == pytest.approx(np.nanmean(by_user))


def test_intervals_hold_the_value_and_follow_the_seed(case: Case) -> None:
    one, again, other = (measure(case.pairs, case.scores, seed, 200) for seed in (0, 0, 1))
    assert one == again != other
    for interval in one.values():
        assert interval.low < interval.mean < interval.high


def test_the_interval_is_that_of_drawing_users(case: Case) -> None:
    rng, values = np.random.default_rng(5), literal_by_user(case)
    drawn = [np.nanmean(rng.choice(values, len(values))) for _ in range(4000)]
    interval = measure(case.pairs, case.scores, n_resamples=4000)["UAUC"]
    assert (interval.low, interval.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)


def test_scale_does_not_matter_nor_the_order_of_rows(case: Case) -> None:
    back = LabelledPairs(case.pairs.users[::-1], case.pairs.items[::-1], case.pairs.labels[::-1], case.pairs.histories)
    before, after = measure(case.pairs, case.scores), measure(back, 10 * case.scores[::-1] - 3)
    for name, interval in before.items():
        assert interval.mean == pytest.approx(after[name].mean)


def test_better_scores_are_found_better(case: Case) -> None:
    perfect = case.pairs.labels.astype(np.float32)
    for name, difference in compare(case.pairs, perfect, case.scores, n_resamples=500).items():
        value = 1.0 - measure(case.pairs, case.scores, n_resamples=2)[name].mean
        assert difference.interval.mean == pytest.approx(value)
        assert difference.interval.low > 0
        assert difference.p_value == pytest.approx(2 / 501)


def test_the_same_scores_do_not_differ(case: Case) -> None:
    for difference in compare(case.pairs, case.scores, case.scores, n_resamples=50).values():
        assert (difference.interval.low, difference.interval.high, difference.p_value) == (0.0, 0.0, 1.0)


def test_rows_of_one_class_have_no_value() -> None:
    found = measure(pairs_of([0, 1], [0, 0]), np.zeros(2, np.float32), n_resamples=5)
    assert all(np.isnan([interval.mean, interval.low, interval.high]).all() for interval in found.values())


def test_no_rows_have_no_value() -> None:
    found = measure(pairs_of([], []), np.zeros(0, np.float32), n_resamples=5)
    assert all(np.isnan(interval.mean) for interval in found.values())


@pytest.mark.parametrize("scores", [[1.0], [1.0, float("nan")]])
def test_scores_that_do_not_fit_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="expected a number for each"):
        measure(pairs_of([0, 1], [0, 1]), np.asarray(scores, np.float32))


def test_subsets_count_rows_of_training_liked_or_not() -> None:
    train = pairs_of([0, 0, 0, 1, 2], [1, 0, 0, 1, 1], [0, 0, 1, 0, 1])  # user 0: 3, item 0: 3, item 1: 2
    asked = pairs_of([0, 0, 1, 9, 0], [1] * 5, [0, 1, 0, 0, 8])
    rows = {name: found.tolist() for name, found in subsets(train, asked).items()}
    assert rows == {
        "all": [0, 1, 2, 3, 4], "warm": [0], "cold": [1, 2, 3, 4], "known": [0, 1, 2], "unknown": [3, 4],
    }  # fmt: skip
