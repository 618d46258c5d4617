"""Metrics against LensKit's, which share no code with ours: per user, on random lists and on scores with ties."""

import numpy as np
import pytest
from lenskit.data import ItemList
from lenskit.metrics import NDCG, Hit, ListGini, ListMetric, Recall, RecipRank
from lenskit.metrics.ranking import LogRankWeight

from models.contract.types import Floats, Ints
from models.evaluation.catalogue_use import gini
from models.evaluation.measure import METRICS
from models.evaluation.metrics import NO_ITEM, Ranks, rank_scores, ranks_in_lists
from models.types import Sequences

N_USERS, N_ITEMS, LENGTH = 400, 60, 20


def oracle(name: str, n: int) -> ListMetric:
    """LensKit's metric of our name. Its NDCG discounts ranks 1 and 2 alike unless told to take log2(1 + rank)."""
    if name == "NDCG":
        return NDCG(n, weight=LogRankWeight(offset=1))
    return {"HR": Hit, "Recall": Recall, "MRR": RecipRank}[name](n)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def oracle_values(metric: ListMetric, lists: list[ItemList], targets: Ints) -> Ranks:
    pairs = zip(lists, targets, strict=True)
    return np.asarray([metric.measure_list(items, ItemList(np.asarray([target]))) for items, target in pairs])


def oracle_ranking(scores: Floats, excluded: Ints, allowed: Ints) -> ItemList:
    """LensKit ranks the scores; it leaves the order of ties open, so each item's number is a tiny part of its score."""
    items = np.setdiff1d(allowed, excluded)
    untied = scores[items] - 1e-4 * items
    return ItemList(items, scores=untied).top_n(LENGTH)


@pytest.mark.parametrize("n", [1, 5, 10, 20])
@pytest.mark.parametrize("name", METRICS)
def test_lists_are_measured_as_lenskit_does(name: str, n: int, rng: np.random.Generator) -> None:
    lists = np.stack([rng.permutation(N_ITEMS)[:LENGTH] for _ in range(N_USERS)]).astype(np.int32)
    lists[: N_USERS // 4, 7:] = NO_ITEM  # lists that end early
    targets = rng.integers(N_ITEMS, size=N_USERS).astype(np.int32)  # most are missing from their lists

    theirs = [ItemList(row[row != NO_ITEM], ordered=True) for row in lists]

    ours = METRICS[name](ranks_in_lists(lists, targets), n)
    np.testing.assert_allclose(ours, oracle_values(oracle(name, n), theirs, targets))
    assert 0 < ours.mean() < 1


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("name", METRICS)
def test_scores_with_ties_are_ranked_and_measured_as_lenskit_does(
    name: str, sampled: bool, rng: np.random.Generator
) -> None:
    scores = rng.integers(4, size=(N_USERS, N_ITEMS)).astype(np.float32)
    excluded = [rng.permutation(N_ITEMS)[:5].astype(np.int32) for _ in range(N_USERS)]
    targets = rng.integers(N_ITEMS, size=N_USERS).astype(np.int32)  # some of them are excluded
    allowed = np.stack([rng.permutation(N_ITEMS)[: 30 if sampled else N_ITEMS] for _ in range(N_USERS)])
    allowed = allowed.astype(np.int32)

    lists = rank_scores(scores, Sequences.of(excluded), LENGTH, allowed if sampled else None)
    theirs = [oracle_ranking(*row) for row in zip(scores, excluded, allowed, strict=True)]

    ours = METRICS[name](ranks_in_lists(lists, targets), 10)
    np.testing.assert_allclose(ours, oracle_values(oracle(name, 10), theirs, targets))


def test_gini_is_lenskits(rng: np.random.Generator) -> None:
    shown = [np.unique(rng.geometric(0.05, size=8) % N_ITEMS) for _ in range(N_USERS)]
    metric = ListGini(items=N_ITEMS)
    expected = metric.global_aggregate([metric.compute_list_data(ItemList(row), None) for row in shown])

    assert gini(np.bincount(np.concatenate(shown), minlength=N_ITEMS)) == pytest.approx(expected)
