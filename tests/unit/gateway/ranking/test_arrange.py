"""Which items of a pool are picked, against plain Python."""

from collections import Counter
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.types import Floats, item_numbers
from service.gateway.ranking.arrange import Arrangement, Kind, Traits, arrange


def traits(vectors: Floats | None = None, kinds: list[tuple[Kind, ...]] | None = None, shown=None, m: int = 0):
    m = m or len(next(given for given in (vectors, kinds, shown) if given is not None))
    return Traits(
        np.empty((m, 0), np.float32) if vectors is None else vectors,
        [()] * m if kinds is None else kinds,
        item_numbers([0] * m if shown is None else shown),
    )


def draw_vectors(seed: int, m: int, d: int = 4) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((m, d))
    return np.float32(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def relevances(shown: list[int], discount: float) -> list[float]:
    return [(1 - at / len(shown)) * (1 - discount) ** times for at, times in enumerate(shown)]


def marginal(at: int, picked: list[int], relevance: list[float], vectors: Floats, diversity: float) -> float:
    """Carbonell and Goldstein's criterion, as it is written."""
    likeness = max((float(np.dot(vectors[at], vectors[other])) for other in picked), default=0.0)
    return (1 - diversity) * relevance[at] - diversity * likeness


seeds, shares = st.integers(0, 10_000), st.floats(0, 1)
showings = st.lists(st.integers(0, 3), min_size=1, max_size=25)


class TestDiversity:
    @given(seeds, showings, shares, shares, st.integers(1, 30))
    def test_each_pick_is_the_best_that_is_left(self, seed, shown, diversity, discount, n):
        vectors, relevance = draw_vectors(seed, len(shown)), relevances(shown, discount)
        wanted = Arrangement(diversity=diversity, discount=discount)

        order = arrange(wanted, traits(vectors, shown=shown), n)

        assert len(order) == len(set(order)) == min(n, len(shown))
        assert relevance[order[0]] == pytest.approx(max(relevance))
        for place in range(1, len(order)):
            worth = {
                at: marginal(at, order[:place], relevance, vectors, diversity)
                for at in set(range(len(shown))) - set(order[:place])
            }
            assert worth[order[place]] >= max(worth.values()) - 1e-5

    @given(seeds, st.integers(1, 60), st.integers(1, 60))
    def test_none_is_the_order_itself(self, seed, m, n):
        assert arrange(Arrangement(), traits(draw_vectors(seed, m)), n) == list(range(min(m, n)))
        capped = Arrangement(max_per={"brand": 100})  # takes the way through the picks
        assert arrange(capped, traits(draw_vectors(seed, m)), n) == list(range(min(m, n)))

    def test_all_of_it_ends_in_the_least_alike(self):
        vectors = np.float32([[1, 0], [1, 0], [0.8, 0.6], [0, 1], [-1, 0]])
        assert arrange(Arrangement(diversity=1.0), traits(vectors), 3) == [0, 4, 3]
        assert arrange(Arrangement(diversity=0.0), traits(vectors), 3) == [0, 1, 2]

    def test_the_more_of_it_the_sooner_comes_the_unlike(self):
        vectors = np.float32([[1, 0], [1, 0], [0.8, 0.6], [0, 1]])
        lists = [arrange(Arrangement(diversity=share), traits(vectors), 3) for share in (0.1, 0.3, 0.4)]
        assert lists == [[0, 1, 2], [0, 1, 3], [0, 3, 1]]

    def test_a_longer_list_begins_with_the_shorter_one(self):
        known, wanted = traits(draw_vectors(3, 40)), Arrangement(diversity=0.6)
        assert arrange(wanted, known, 40)[:7] == arrange(wanted, known, 7)

    def test_an_empty_pool_gives_an_empty_list(self):
        assert arrange(Arrangement(diversity=0.5), traits(np.empty((0, 4), np.float32)), 5) == []
        assert arrange(Arrangement(discount=0.5), traits(np.empty((0, 4), np.float32)), 5) == []


brands = st.sampled_from([(), (("brand", "a"),), (("brand", "b"),), (("brand", "c"),)])
genres = st.lists(st.sampled_from([("genre", "x"), ("genre", "y")]), unique=True, max_size=2).map(tuple)
pools = st.lists(st.builds(lambda brand, genre: brand + genre, brands, genres), min_size=1, max_size=30)


class TestCaps:
    @given(seeds, pools, st.integers(1, 3), st.integers(1, 3), shares, st.integers(1, 30))
    def test_no_value_occurs_more_often_and_none_is_left_out_without_need(
        self, seed, kinds, brand, genre, diversity, n
    ):
        caps = {"brand": brand, "genre": genre}
        wanted = Arrangement(diversity, caps)

        order = arrange(wanted, traits(draw_vectors(seed, len(kinds)), kinds), n)

        used = Counter(kind for at in order for kind in kinds[at])
        assert all(times <= caps[attribute] for (attribute, _), times in used.items())
        if len(order) < n:
            for at in set(range(len(kinds))) - set(order):
                assert any(used[kind] == caps[kind[0]] for kind in kinds[at])

    @given(pools, st.integers(1, 3), st.integers(1, 30))
    def test_without_diversity_the_first_that_are_allowed_come_in_their_order(self, kinds, cap, n):
        expected, used = [], Counter[Kind]()
        for at, own in enumerate(kinds):
            if len(expected) < n and all(used[kind] < cap for kind in own):
                expected.append(at)
                used.update(own)
        assert arrange(Arrangement(max_per={"brand": cap, "genre": cap}), traits(kinds=kinds), n) == expected

    def test_items_without_the_attribute_are_never_capped(self):
        kinds: list[tuple[Kind, ...]] = [(("brand", "a"),), (), (("brand", "a"),), (), ()]
        assert arrange(Arrangement(max_per={"brand": 1}), traits(kinds=kinds), 5) == [0, 1, 3, 4]


class TestRotation:
    @given(showings, shares)
    def test_items_come_by_what_is_left_of_their_relevance(self, shown, discount):
        relevance = relevances(shown, discount)
        order = arrange(Arrangement(discount=discount), traits(shown=shown), len(shown))
        assert order == sorted(range(len(shown)), key=lambda at: -relevance[at])

    def test_what_was_not_shown_keeps_its_order(self):
        assert arrange(Arrangement(discount=0.5), traits(m=9), 4) == [0, 1, 2, 3]

    def test_each_showing_costs_places(self):
        shown_often = ([times, *[0] * 49] for times in count())
        places = [arrange(Arrangement(discount=0.1), traits(shown=next(shown_often)), 50).index(0) for _ in range(4)]
        assert places == [0, 4, 9, 13]

    def test_a_whole_discount_puts_what_was_shown_last(self):
        assert arrange(Arrangement(discount=1.0), traits(shown=[1, 0, 2, 0]), 4) == [1, 3, 0, 2]
