"""Anchors and communities of users whose angles are known."""

import dataclasses
from typing import get_args

import numpy as np
import pytest

from models.communities import CommunityConfig, describe, find_anchors, item_members
from models.communities import anchors as anchors_module
from models.contract.affinity import Kernel, affinities, arccos_distance
from models.contract.errors import ConfigError, DataError
from models.contract.types import Floats

ALL = CommunityConfig(n_communities=1, candidate_share=1.0)


def at_degrees(*angles: float) -> Floats:
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def random_users(n: int = 200, d: int = 8) -> Floats:
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def slow_coverage(users: Floats, q: int, bandwidth: float) -> list[int]:
    """LOCA's greedy coverage for as long as somebody is left to cover; ties not looked at."""
    covers = affinities(users, users, bandwidth, "uniform").T > 0
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
    coverage = [describe(affinities(users[rows], users, bandwidth, "uniform")).coverage for rows in (anchors, literal)]
    assert coverage[0] == pytest.approx(coverage[1], abs=0.03)  # ties may be decided otherwise
    assert coverage[0] > np.mean(
        [describe(affinities(users[at : at + 4], users, bandwidth, "uniform")).coverage for at in range(0, 200, 4)]
    )


def test_a_sample_that_decides_between_equals_gives_as_good_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    users = random_users(n=2000, d=4)
    config = dataclasses.replace(ALL, n_communities=12)  # a few anchors leave nobody to cover
    by_all = find_anchors(users, config)
    monkeypatch.setattr(anchors_module, "SPREAD_SAMPLE", 300)
    by_some = find_anchors(users, config)
    to_nearest = [arccos_distance(users[rows], users).min(axis=1).mean() for rows in (by_all, by_some)]
    assert by_some.tolist() != by_all.tolist()
    assert to_nearest[1] == pytest.approx(to_nearest[0], rel=0.05)


@pytest.mark.parametrize("q", [1, 2, 10, 30])
def test_as_many_anchors_as_communities(q: int) -> None:
    anchors = find_anchors(random_users(), dataclasses.replace(ALL, n_communities=q))
    assert len(set(anchors.tolist())) == q


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


def test_more_communities_than_users_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"communities\.n_communities: 5 is out of range; expected at most 4"):
        find_anchors(random_users(4), CommunityConfig(n_communities=5))


def test_more_communities_than_candidates_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_communities: 5 is out of range; expected at most max_candidates, 4"):
        CommunityConfig(n_communities=5, max_candidates=4)


def test_broken_embedding_is_named() -> None:
    users = random_users()
    users[17, 3] = np.nan
    with pytest.raises(DataError, match="row 17 is not finite"):
        find_anchors(users, CommunityConfig())


def test_outliers_do_not_become_anchors_where_a_community_must_have_users() -> None:
    users = at_degrees(0, 5, 10, 15, 90, 180, 270, 275)
    config = dataclasses.replace(ALL, n_communities=3, bandwidth=0.15)
    assert {4, 5} & set(find_anchors(users, config).tolist())
    assert {4, 5}.isdisjoint(find_anchors(users, dataclasses.replace(config, min_users=2)).tolist())


def test_too_few_candidates_with_enough_users_are_refused() -> None:
    users = at_degrees(0, 5, 10, 90, 180)
    config = dataclasses.replace(ALL, n_communities=4, bandwidth=0.15, min_users=3)
    with pytest.raises(ConfigError, match=r"communities\.min_users: 3 users within 0\.15 have 3 of 5 candidates"):
        find_anchors(users, config)


def test_a_user_of_no_direction_does_not_become_an_anchor() -> None:
    users = np.concatenate([np.zeros((3, 2), np.float32), at_degrees(0, 90)])
    assert sorted(find_anchors(users, dataclasses.replace(ALL, n_communities=2)).tolist()) == [3, 4]
    with pytest.raises(ConfigError, match="min_users: 1 users"):
        find_anchors(users, dataclasses.replace(ALL, n_communities=3))


def test_communities_answer_for_the_users_they_train_on_unless_told_otherwise() -> None:
    assert CommunityConfig(bandwidth=0.7).serving_bandwidth == 0.7
    assert CommunityConfig(bandwidth=0.7, inference_bandwidth=0.4).serving_bandwidth == 0.4


class TestItemMembers:
    def test_items_belong_to_the_anchors_that_they_are_near_to(self) -> None:
        items = at_degrees(0, 20, 100, 200)
        weights = item_members(at_degrees(0, 90), items, CommunityConfig(n_communities=2, bandwidth=0.5))
        np.testing.assert_array_equal(weights > 0, [[True, False], [True, False], [False, True], [False, False]])
        assert weights[1, 0] == pytest.approx(1 - (20 / 90) ** 2, abs=1e-5)

    @pytest.mark.parametrize("kernel", get_args(Kernel))
    def test_the_kernel_is_the_users_own(self, kernel: Kernel) -> None:
        config = CommunityConfig(bandwidth=0.5, kernel=kernel)
        weights = item_members(at_degrees(0), at_degrees(30), config)
        assert weights == affinities(at_degrees(0), at_degrees(30), 0.5, kernel)

    def test_a_community_without_items_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"communities\.bandwidth: 0\.1 leaves community 1 without items"):
            item_members(at_degrees(0, 90), at_degrees(0, 2), CommunityConfig(bandwidth=0.1))
