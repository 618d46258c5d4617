"""Popularity."""

import numpy as np
import pytest

from models.cf.popularity import PopularityScorer, recency_popularity
from models.contract.errors import ConfigError
from models.contract.types import item_numbers
from models.evaluation.metrics import rank_scores
from models.types import Sequences

DAY = 86_400
FIRST = 1_700_000_000


def test_every_user_gets_the_counts() -> None:
    scorer = PopularityScorer(recency_popularity(item_numbers([2, 1, 2]), np.zeros(3, np.int64), 4, 30.0))
    scores = scorer.scores(Sequences.of([item_numbers([0]), item_numbers([])]))
    assert scores.dtype == np.float32
    assert scores.tolist() == [[0, 1, 2, 0], [0, 1, 2, 0]]


def test_equally_popular_items_rank_by_number() -> None:
    scorer = PopularityScorer(recency_popularity(item_numbers([3, 1, 2]), np.zeros(3, np.int64), 4, 30.0))
    nobody = Sequences.of([item_numbers([])])
    assert rank_scores(scorer.scores(nobody), nobody, 4).tolist() == [[1, 2, 3, 0]]


def test_interaction_weighs_half_after_a_half_life() -> None:
    times = np.array([FIRST, FIRST + 10 * DAY, FIRST + 20 * DAY])
    popularity = recency_popularity(item_numbers([0, 1, 2]), times, 4, half_life_days=10.0)
    assert popularity.dtype == np.float32
    np.testing.assert_allclose(popularity, [0.25, 0.5, 1.0, 0.0])


def test_many_old_interactions_outweigh_one_new() -> None:
    items = item_numbers([0, 0, 0, 1])
    times = np.array([FIRST, FIRST, FIRST, FIRST + 10 * DAY])
    np.testing.assert_allclose(recency_popularity(items, times, 2, half_life_days=10.0), [1.5, 1.0])


@pytest.mark.parametrize("half_life_days", [10.0, float("inf")])
def test_data_without_times_are_counted(half_life_days: float) -> None:
    items = item_numbers([1, 1, 0])
    popularity = recency_popularity(items, np.zeros(3, np.int64), 3, half_life_days)
    assert popularity.tolist() == [1, 2, 0]


def test_no_interactions_give_zeros() -> None:
    assert recency_popularity(item_numbers([]), np.empty(0, np.int64), 2, half_life_days=1.0).tolist() == [0, 0]


@pytest.mark.parametrize("half_life_days", [0.0, -1.0, float("nan")])
def test_half_life_must_be_positive(half_life_days: float) -> None:
    with pytest.raises(ConfigError, match="half_life_days"):
        recency_popularity(item_numbers([0]), np.zeros(1, np.int64), 1, half_life_days)
