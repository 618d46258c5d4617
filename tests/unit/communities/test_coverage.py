"""Bits and distances, against the same counted one by one."""

import numpy as np
import pytest

from models.communities import coverage
from models.communities.coverage import Approach, Coverage
from models.contract.affinity import arccos_distance
from models.contract.types import Floats

ADDED = (3, 0, 4)


def random_users(n: int, d: int = 6) -> Floats:
    return np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("bandwidth", [0.3, 0.7, 1.0, 1.4])
@pytest.mark.parametrize("n", [5, 63, 64, 65, 300])
def test_gains_are_the_users_whom_no_anchor_covers(n: int, bandwidth: float) -> None:
    users = random_users(n)
    covers = arccos_distance(users, users[:5]) < bandwidth  # (5, n)
    counted = Coverage(users[:5], users, bandwidth)
    left = np.ones(n, dtype=bool)
    for anchor in ADDED:
        np.testing.assert_array_equal(counted.gains(), (covers & left).sum(axis=1))
        counted.add(anchor)
        left &= ~covers[anchor]
    np.testing.assert_array_equal(counted.gains(), (covers & left).sum(axis=1))


def test_who_has_no_direction_covers_nobody_and_is_not_covered() -> None:
    users = random_users(20)
    users[0] = 0.0
    np.testing.assert_array_equal(
        Coverage(users[:2], users, 1.9).gains(), (arccos_distance(users, users[:2]) < 1.9).sum(1)
    )
    assert Coverage(users[:2], users, 1.9).gains()[0] == 0


def test_blocks_do_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    users = random_users(500)
    at_once = Coverage(users[:40], users, 0.8).gains()
    monkeypatch.setattr(coverage, "COSINES_AT_ONCE", 40 * 24)
    monkeypatch.setattr(coverage, "WORDS_AT_ONCE", 8 * 7)
    np.testing.assert_array_equal(Coverage(users[:40], users, 0.8).gains(), at_once)


def test_distance_saved_is_to_the_nearest_anchor() -> None:
    users = random_users(50)
    distances = arccos_distance(users, users[:5])
    nearest = np.full(50, 2.0)
    approach = Approach(users[:5], users)
    for anchor in ADDED:
        saved = np.maximum(nearest - distances, 0).sum(axis=1)
        np.testing.assert_allclose(approach.gains(np.array([1, 2, 4])), saved[[1, 2, 4]], rtol=1e-5)
        approach.add(anchor)
        nearest = np.minimum(nearest, distances[anchor])
    assert approach.gains(np.array(ADDED)).tolist() == [0.0, 0.0, 0.0]
