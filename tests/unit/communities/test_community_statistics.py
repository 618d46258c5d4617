"""Counts and typical items of communities that are small enough to count by hand."""

import numpy as np
import pytest

from models.communities import characteristic_items, describe
from models.types import Sequences


def test_statistics_of_a_small_case() -> None:
    weights = np.array([[0.9, 0.0], [0.5, 0.2], [0.1, 0.0], [0.0, 0.0]], np.float32)
    statistics = describe(weights)
    assert statistics.sizes == (3, 1)
    assert (statistics.mean_size, statistics.mean_share) == (2.0, 0.5)
    assert statistics.coverage == 0.75
    assert statistics.mean_memberships == 1.0
    assert statistics.overlap == ((1.0, pytest.approx(1 / 3)), (1.0, 1.0))


def test_statistics_of_nobody_and_of_an_empty_community() -> None:
    assert describe(np.empty((0, 2), np.float32)).coverage == 0.0
    assert describe(np.array([[1.0, 0.0]], np.float32)).overlap == ((1.0, 0.0), (0.0, 0.0))


def histories(*rows: list[int]) -> Sequences:
    return Sequences.of([np.asarray(row, np.int32) for row in rows])


def test_lift_is_observed_over_expected_pulled_towards_one() -> None:
    weights = np.array([[1.0], [1.0], [0.0], [0.0]], np.float32)
    ((first, second),) = characteristic_items(weights, histories([0, 1], [0], [1], [2]), n_items=3, n=5)
    assert (first.item, second.item) == (0, 1)
    assert first.lift == pytest.approx((2 + 10) / (1 + 10))  # both members, half of all users
    assert second.lift == pytest.approx(1.0)


def test_item_that_everybody_knows_does_not_name_a_community() -> None:
    rows = [[0, 1]] * 30 + [[0, 2]] * 30
    weights = np.repeat([[1.0, 0.0], [0.0, 1.0]], 30, axis=0).astype(np.float32)
    left, right = characteristic_items(weights, histories(*rows), n_items=3, n=1)
    assert (left[0].item, right[0].item) == (1, 2)


def test_affinity_tells_communities_of_the_same_users_apart() -> None:
    rows = [[0]] * 30 + [[1]] * 30
    weights = np.repeat([[0.9, 0.2], [0.2, 0.9]], 30, axis=0).astype(np.float32)
    left, right = characteristic_items(weights, histories(*rows), n_items=2, n=1)
    assert (left[0].item, right[0].item) == (0, 1)
