"""Both indexes against a sort of all scores."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.index import EXACT_BELOW_ITEMS, ExactIndex, FaissIndex, ItemIndex, build_index, top_n
from models.contract.types import Floats, item_numbers

NOTHING = item_numbers([])
MakeIndex = Callable[[Floats], ItemIndex]


def literal_top_n(scores: list[float], n: int, excluded: list[int]) -> list[int]:
    left = [item for item in range(len(scores)) if item not in excluded and scores[item] > -np.inf]
    return sorted(left, key=lambda item: (-scores[item], item))[:n]


class TestTopN:
    @given(
        scores=st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]), max_size=12),
        n=st.integers(0, 15),
        data=st.data(),
    )
    def test_is_a_stable_sort(self, scores: list[float], n: int, data: st.DataObject) -> None:
        items = st.integers(0, len(scores) - 1) if scores else st.nothing()
        excluded = data.draw(st.lists(items))

        found = top_n(np.asarray(scores, np.float32), n, item_numbers(excluded))

        assert found.items.tolist() == literal_top_n(scores, n, excluded)
        assert found.scores.tolist() == [scores[item] for item in found.items]

    @given(
        scores=st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]), max_size=12),
        n=st.integers(0, 15),
        data=st.data(),
    )
    def test_is_a_stable_sort_of_what_is_allowed(self, scores: list[float], n: int, data: st.DataObject) -> None:
        excluded = data.draw(st.lists(st.integers(0, len(scores) - 1) if scores else st.nothing()))
        allowed = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))

        found = top_n(np.asarray(scores, np.float32), n, item_numbers(excluded), np.asarray(allowed, bool))

        others = [*excluded, *(item for item, may in enumerate(allowed) if not may)]
        assert found.items.tolist() == literal_top_n(scores, n, others)

    @given(seed=st.integers(0, 1_000), n=st.integers(1, 40), n_items=st.integers(1, 1_000), few=st.booleans())
    def test_is_a_stable_sort_of_many_scores_too(self, seed: int, n: int, n_items: int, few: bool) -> None:
        """So many that maxima of groups stand for them, all different or nearly all equal."""
        rng = np.random.default_rng(seed)
        scores = rng.integers(0, 4 if few else 10**6, n_items).astype(np.float32)
        excluded = rng.integers(0, n_items, n_items // 3).astype(np.int32)

        found = top_n(scores, n, excluded)

        left = scores.copy()
        left[excluded] = -np.inf
        best = np.argsort(-left, kind="stable")[:n]
        assert found.items.tolist() == best[left[best] > -np.inf].tolist()

    def test_what_is_given_stays_as_it_was(self) -> None:
        scores = np.asarray([1.0, 2.0], np.float32)

        top_n(scores, 1, item_numbers([1]))

        assert scores.tolist() == [1.0, 2.0]

    @pytest.mark.parametrize("n", [1, 2, 3, 4])
    def test_a_score_that_is_no_number_is_not_listed(self, n: int) -> None:
        scores = np.asarray([np.nan, 1.0, np.nan, 2.0], np.float32)

        assert not {0, 2} & set(top_n(scores, n, NOTHING).items.tolist())


@pytest.mark.parametrize("make", [ExactIndex, FaissIndex])
class TestIndex:
    @pytest.fixture
    def vectors(self) -> Floats:
        return np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)

    @pytest.mark.parametrize("excluded", [[], [3, 3, 17], list(range(49)), list(range(50))])
    @pytest.mark.parametrize("n", [1, 7, 50, 80])
    def test_best_inner_products_without_the_excluded(
        self, make: MakeIndex, vectors: Floats, n: int, excluded: list[int]
    ) -> None:
        query = np.random.default_rng(1).normal(size=8).astype(np.float32)

        found = make(vectors).search(query, n, item_numbers(excluded))

        scores = vectors @ query
        assert found.items.tolist() == literal_top_n(scores.tolist(), n, excluded)
        np.testing.assert_allclose(found.scores, scores[found.items], rtol=1e-5)
        assert (found.items.dtype, found.scores.dtype) == (np.int32, np.float32)

    @pytest.mark.parametrize("allowed", [[], [7], list(range(0, 50, 3)), list(range(50))])
    @pytest.mark.parametrize("excluded", [[], [7, 9, 12]])
    def test_what_is_allowed_alone(
        self, make: MakeIndex, vectors: Floats, allowed: list[int], excluded: list[int]
    ) -> None:
        query, mask = np.random.default_rng(1).normal(size=8).astype(np.float32), np.zeros(50, bool)
        mask[allowed] = True

        found = make(vectors).search(query, 7, item_numbers(excluded), mask)

        others = [*excluded, *(item for item in range(50) if item not in allowed)]
        assert found.items.tolist() == literal_top_n((vectors @ query).tolist(), 7, others)

    def test_ties_come_out_alike_every_time(self, make: MakeIndex) -> None:
        vectors, query = np.ones((40, 4), np.float32), np.ones(4, np.float32)

        first, again = (make(vectors).search(query, 10, item_numbers([2])) for _ in range(2))

        assert first.items.tolist() == again.items.tolist()
        assert len(set(first.items.tolist()) - {2}) == 10

    def test_an_embedding_that_is_no_number_finds_nothing(self, make: MakeIndex, vectors: Floats) -> None:
        assert len(make(vectors).search(np.full(8, np.nan, np.float32), 5, NOTHING)) == 0


@pytest.mark.parametrize(("n_items", "kind"), [(EXACT_BELOW_ITEMS - 1, ExactIndex), (EXACT_BELOW_ITEMS, FaissIndex)])
def test_the_size_of_the_catalogue_decides(n_items: int, kind: type) -> None:
    assert isinstance(build_index(np.zeros((n_items, 2), np.float32)), kind)
