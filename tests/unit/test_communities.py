"""Anchors and communities of users whose angles are known."""

import dataclasses

import numpy as np
import pytest

from models.communities import CommunityConfig, characteristic_items, describe, find_anchors
from models.contract.affinity import affinities
from models.contract.errors import ConfigError, DataError
from models.contract.types import Floats
from models.types import Sequences

ALL = CommunityConfig(n_communities=1, candidate_share=1.0)


def at_degrees(*angles: float) -> Floats:
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def random_users(n: int = 200, d: int = 8) -> Floats:
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def slow_coverage(users: Floats, q: int, bandwidth: float) -> list[int]:
    """LOCA's greedy coverage for as long as somebody is left to cover; ties not looked at."""
    covers = affinities(users, users, bandwidth).T > 0
    left = np.ones(len(users), dtype=bool)
    anchors: list[int] = []
    while len(anchors) < q and (covers & left).any():
        anchors.append(int((covers & left).sum(axis=1).argmax()))
        left &= ~covers[anchors[-1]]
    return anchors


def test_first_anchor_covers_most_and_the_next_most_of_the_rest() -> None:
    # A bandwidth of 0.15 is 13.5 degrees. Row 1 covers 0 and 2; 3 and 4 cover each other, 4 is nearer to 5.
    users = at_degrees(0, 10, 20, 100, 110, 190)
    config = dataclasses.replace(ALL, n_communities=3, bandwidth=0.15)
    assert find_anchors(users, config).tolist() == [1, 4, 5]


def test_covered_users_do_not_count_again() -> None:
    # Rows 1 and 2 cover three each, 2 is nearer to the rest; then 1 would bring one more, 4 brings two.
    users = at_degrees(0, 10, 20, 30, 100, 100)
    config = dataclasses.replace(ALL, n_communities=2, bandwidth=0.15)
    assert find_anchors(users, config).tolist() == [2, 4]


def test_equal_coverage_is_decided_by_distance() -> None:
    users = at_degrees(0, 30, 40)  # everybody covers everybody at 0.5; 30 degrees is in the middle
    assert find_anchors(users, dataclasses.replace(ALL, bandwidth=0.5)).tolist() == [1]


def test_when_all_are_covered_anchors_go_on_spreading() -> None:
    users = at_degrees(0, 1, 2, 40, 41, 80)  # at bandwidth 1 the first anchor covers all
    config = dataclasses.replace(ALL, n_communities=3)
    groups = {(0, 1, 2): "left", (3, 4): "middle", (5,): "right"}
    chosen = [name for anchor in find_anchors(users, config) for rows, name in groups.items() if anchor in rows]
    assert sorted(chosen) == ["left", "middle", "right"]


def test_all_users_can_be_anchors_even_when_they_are_equal() -> None:
    users = at_degrees(*[30.0] * 5)
    anchors = find_anchors(users, dataclasses.replace(ALL, n_communities=5))
    assert sorted(anchors.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("bandwidth", [0.4, 0.6])
def test_coverage_is_that_of_the_literal_algorithm(bandwidth: float) -> None:
    users = random_users()
    anchors = find_anchors(users, dataclasses.replace(ALL, n_communities=4, bandwidth=bandwidth))
    literal = slow_coverage(users, 4, bandwidth)
    coverage = [describe(affinities(users[rows], users, bandwidth)).coverage for rows in (anchors, literal)]
    assert coverage[0] == pytest.approx(coverage[1], abs=0.03)  # ties may be decided otherwise
    assert coverage[0] > np.mean(
        [describe(affinities(users[at : at + 4], users, bandwidth)).coverage for at in range(0, 200, 4)]
    )


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CommunityConfig(n_communities=6, bandwidth=0.6, candidate_share=0.3)
    at_once = find_anchors(random_users(), config)
    monkeypatch.setattr("models.communities.DISTANCES_AT_ONCE", 7 * 60)
    np.testing.assert_array_equal(find_anchors(random_users(), config), at_once)


def test_fewer_communities_are_a_prefix_of_more() -> None:
    few, many = (find_anchors(random_users(), CommunityConfig(n_communities=q)) for q in (3, 9))
    np.testing.assert_array_equal(few, many[:3])
    assert len(set(many.tolist())) == 9


def test_seed_decides_who_may_become_an_anchor() -> None:
    results = [find_anchors(random_users(), CommunityConfig(n_communities=5, seed=s)).tolist() for s in (0, 0, 1)]
    assert results[0] == results[1] != results[2]


def test_most_candidates_are_bounded() -> None:
    config = CommunityConfig(n_communities=4, candidate_share=1.0, max_candidates=4)
    drawn = np.random.default_rng(0).choice(200, size=4, replace=False)
    assert set(find_anchors(random_users(), config).tolist()) == set(drawn.tolist())


@pytest.mark.parametrize(("n_users", "max_candidates"), [(4, 2000), (50, 4)])
def test_too_many_communities_are_refused(n_users: int, max_candidates: int) -> None:
    config = CommunityConfig(n_communities=5, max_candidates=max_candidates)
    with pytest.raises(ConfigError, match="n_communities: 5 is out of range; expected at most 4"):
        find_anchors(random_users(n_users), config)


def test_broken_embedding_is_named() -> None:
    users = random_users()
    users[17, 3] = np.nan
    with pytest.raises(DataError, match="row 17 is not finite"):
        find_anchors(users, CommunityConfig())


def test_statistics_of_a_small_case() -> None:
    weights = np.array([[0.9, 0.0], [0.5, 0.2], [0.1, 0.0], [0.0, 0.0]], np.float32)
    statistics = describe(weights)
    assert statistics.n_users == (3, 1)
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
