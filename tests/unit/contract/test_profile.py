"""A profile computed on the way is the profile that Redis gives back, to the last bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.affinity import affinities
from models.contract.cf import CFModel
from models.contract.profile import build_profile
from models.contract.redis_schema import decode_profile, encode_profile
from models.contract.types import Floats, item_numbers

N_ITEMS, SIZE, COMMUNITIES = 30, 8, 6
seeds = st.integers(0, 2**32 - 1)
histories = st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=20)


def random_cf(seed: int) -> tuple[CFModel, Floats]:
    """A global model and the anchors of its communities."""
    rng = np.random.default_rng(seed)
    shapes = [(N_ITEMS, SIZE), (SIZE,), (N_ITEMS, SIZE), (N_ITEMS,), (COMMUNITIES, SIZE)]
    *parameters, anchors = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return CFModel(*parameters), anchors


@given(seed=seeds, bandwidth=st.floats(0.05, 1.0), history=histories)
def test_redis_gives_back_exactly_what_is_computed(seed: int, bandwidth: float, history: list[int]) -> None:
    cf, anchors = random_cf(seed)

    computed = build_profile(cf, anchors, bandwidth, item_numbers(history))
    stored = decode_profile(encode_profile(computed))

    assert stored.embedding.tobytes() == computed.embedding.tobytes()
    assert stored.memberships == computed.memberships
    assert stored.embedding.dtype == computed.embedding.dtype == np.float32


@given(seed=seeds, bandwidth=st.floats(0.05, 1.0), history=histories)
def test_memberships_are_the_affinities_nearest_first(seed: int, bandwidth: float, history: list[int]) -> None:
    cf, anchors = random_cf(seed)

    profile = build_profile(cf, anchors, bandwidth, item_numbers(history))

    expected = affinities(anchors, cf.fold_in(item_numbers(history))[None, :], bandwidth)[0]
    weights = [m.cf_weight for m in profile.memberships]
    assert weights == sorted(weights, reverse=True)
    assert all(0 < weight <= 1 for weight in weights)
    for membership in profile.memberships:
        assert membership.cf_weight == pytest.approx(expected[membership.community], abs=0.01)


def test_an_empty_history_has_an_embedding_but_no_community() -> None:
    cf, anchors = random_cf(0)

    profile = build_profile(cf, anchors, 1.0, item_numbers([]))

    np.testing.assert_allclose(profile.embedding, cf.encoder_bias, rtol=1e-3)
    assert profile.memberships == ()


def test_equal_affinities_go_by_community_number() -> None:
    cf, _ = random_cf(0)
    history = item_numbers([1, 2])
    same = np.repeat(cf.fold_in(history)[None, :], 4, axis=0)

    profile = build_profile(cf, same, 1.0, history)

    assert [m.community for m in profile.memberships] == [0, 1, 2, 3]
