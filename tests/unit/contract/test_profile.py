"""A profile computed on the way is the profile that Redis gives back, to the last bit."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract.affinity import Kernel, affinities
from models.contract.cf import CFModel
from models.contract.profile import build_profile, inherit_weights
from models.contract.redis_schema import decode_profile, encode_profile
from models.contract.types import Floats, Membership, Profile, item_numbers

N_ITEMS, SIZE, COMMUNITIES = 30, 8, 6
seeds = st.integers(0, 2**32 - 1)
kernels = st.sampled_from(get_args(Kernel))
histories = st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=20)


def random_cf(seed: int) -> tuple[CFModel, Floats]:
    """A global model and the anchors of its communities."""
    rng = np.random.default_rng(seed)
    shapes = [(N_ITEMS, SIZE), (SIZE,), (N_ITEMS, SIZE), (N_ITEMS,), (COMMUNITIES, SIZE)]
    *parameters, anchors = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return CFModel(*parameters), anchors


@settings(deadline=None)  # a busy machine is no failure
@given(seed=seeds, bandwidth=st.floats(0.05, 1.0), kernel=kernels, history=histories)
def test_redis_gives_back_exactly_what_is_computed(
    seed: int, bandwidth: float, kernel: Kernel, history: list[int]
) -> None:
    cf, anchors = random_cf(seed)

    computed = build_profile(cf, anchors, bandwidth, kernel, item_numbers(history))
    stored = decode_profile(encode_profile(computed))

    assert stored.embedding.tobytes() == computed.embedding.tobytes()
    assert stored.memberships == computed.memberships
    assert stored.embedding.dtype == computed.embedding.dtype == np.float32


@settings(deadline=None)  # a busy machine is no failure
@given(seed=seeds, bandwidth=st.floats(0.05, 1.0), kernel=kernels, history=histories)
def test_memberships_are_the_affinities_nearest_first(
    seed: int, bandwidth: float, kernel: Kernel, history: list[int]
) -> None:
    cf, anchors = random_cf(seed)

    profile = build_profile(cf, anchors, bandwidth, kernel, item_numbers(history))

    expected = affinities(anchors, cf.fold_in(item_numbers(history))[None, :], bandwidth, kernel)[0]
    weights = [m.cf_weight for m in profile.memberships]
    assert weights == sorted(weights, reverse=True)
    assert all(0 < weight <= 1 for weight in weights)
    for membership in profile.memberships:
        assert membership.cf_weight == pytest.approx(expected[membership.community], abs=0.01)


@given(seed=seeds, history=histories, hits=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=9, max_size=9))
def test_accuracies_weigh_a_users_own_models_and_survive_redis(
    seed: int, history: list[int], hits: list[float]
) -> None:
    cf, anchors = random_cf(seed)
    accuracies = np.resize(np.asarray(hits, np.float32), len(anchors))

    profile = build_profile(cf, anchors, 0.9, "epanechnikov", item_numbers(history), accuracies)

    plain = build_profile(cf, anchors, 0.9, "epanechnikov", item_numbers(history)).memberships
    assert [m._replace(llm_weight=1.0) for m in profile.memberships] == list(plain)
    powers = [np.exp(accuracies[m.community]) for m in plain]
    np.testing.assert_allclose([m.llm_weight for m in profile.memberships], powers / np.sum(powers), rtol=1e-3)
    assert decode_profile(encode_profile(profile)).memberships == profile.memberships


def test_an_empty_history_has_an_embedding_but_no_community() -> None:
    cf, anchors = random_cf(0)

    profile = build_profile(cf, anchors, 1.0, "epanechnikov", item_numbers([]))

    np.testing.assert_allclose(profile.embedding, cf.encoder_bias, rtol=1e-3)
    assert profile.memberships == ()


def test_equal_affinities_go_by_community_number() -> None:
    cf, _ = random_cf(0)
    history = item_numbers([1, 2])
    same = np.repeat(cf.fold_in(history)[None, :], 4, axis=0)

    profile = build_profile(cf, same, 1.0, "epanechnikov", history)

    assert [m.community for m in profile.memberships] == [0, 1, 2, 3]


def test_weights_of_communities_that_remain_are_inherited_and_new_ones_get_the_mean() -> None:
    size = np.zeros(2, np.float32)
    published = Profile(size, (Membership(3, 0.9, 0.6), Membership(1, 0.5, 0.4)), digest=7)
    folded = Profile(size + 1, (Membership(1, 0.8), Membership(0, 0.7)))

    profile = inherit_weights(folded, published)

    assert profile.memberships == (Membership(1, 0.8, 0.4), Membership(0, 0.7, 0.5))
    assert profile.embedding.tolist() == [1, 1]
    assert profile.digest is None
    assert inherit_weights(folded, Profile(size, ())).memberships == folded.memberships
