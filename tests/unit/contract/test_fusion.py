"""Fusion against equations 5 and 6 of L3Rec, Count of its Table 6 and the sum of standardised scores, written down."""

from fractions import Fraction
from statistics import pstdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.fusion import FusionMethod, accuracy_weights, fuse, list_weights
from models.contract.types import Membership, RankedList, item_numbers

rankings = st.lists(st.lists(st.integers(0, 12), unique=True, max_size=10), max_size=6)
affinities = st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0])  # exact in binary, so that ties are exact ties
dampings = st.sampled_from([0, 1, 10, 40])


def literal_scores(
    lists: list[list[int]], weights: list[float], method: FusionMethod, k: int, depth: int
) -> dict[int, Fraction]:
    """Exact sums: equation 5 with weights 1, equation 6 with w_u^(j), Count as occurrences, standardised scores."""
    scores: dict[int, Fraction] = {}
    for ranking, weight in zip(lists, weights, strict=True):
        spread = pstdev(score_at(rank) for rank in range(1, len(ranking) + 1)) if len(ranking) > 1 else Fraction(1)
        for rank, item in enumerate(ranking, start=1):
            match method:
                case FusionMethod.COUNT:
                    vote = Fraction(int(rank <= depth))
                case FusionMethod.SCORES:
                    vote = (score_at(rank) - score_at(len(ranking))) / Fraction(spread) * Fraction(weight)
                case _:
                    vote = Fraction(weight) / (k + rank)
            scores[item] = scores.get(item, Fraction(0)) + vote
    return scores


def score_at(rank: int) -> Fraction:
    """What :func:`arrays` gives the item at a rank; exact in float32."""
    return Fraction(-rank * rank, 8)


def literal_order(lists: list[list[int]], scores: dict[int, Fraction]) -> list[int]:
    """Best score first; ties by the best rank in any list, then by item number."""
    best = {item: min(ranking.index(item) for ranking in lists if item in ranking) for item in scores}
    return sorted(scores, key=lambda item: (-scores[item], best[item], item))


def arrays(lists: list[list[int]]) -> list[RankedList]:
    return [ranked(items, [float(score_at(rank)) for rank in range(1, len(items) + 1)]) for items in lists]


def ranked(items: list[int], scores: list[float]) -> RankedList:
    return RankedList(item_numbers(items), np.asarray(scores, np.float32))


@pytest.mark.parametrize("method", list(FusionMethod))
@given(data=st.data(), lists=rankings, k=dampings)
def test_fusion_is_the_literal_equation(
    method: FusionMethod, data: st.DataObject, lists: list[list[int]], k: int
) -> None:
    weights = [1.0] * len(lists)
    if method is not FusionMethod.COUNT:
        weights = data.draw(st.lists(affinities, min_size=len(lists), max_size=len(lists)))
    depth = data.draw(st.integers(1, 10))

    fused = fuse(arrays(lists), weights, method, k, depth)

    expected = literal_scores(lists, weights, method, k, depth)
    order = literal_order(lists, expected)
    assert fused.items.tolist() == order
    np.testing.assert_allclose(fused.scores, [float(expected[item]) for item in order], rtol=1e-6)
    assert (fused.items.dtype, fused.scores.dtype) == (np.int32, np.float32)


@given(lists=rankings, k=dampings, seed=st.integers(0, 99))
def test_the_order_in_which_communities_answer_does_not_matter(lists: list[list[int]], k: int, seed: int) -> None:
    weights = [0.1 * (number + 1) for number in range(len(lists))]
    order = np.random.default_rng(seed).permutation(len(lists))

    there = fuse(arrays(lists), weights, FusionMethod.WRRF_CF, k)
    back = fuse(arrays([lists[i] for i in order]), [weights[i] for i in order], FusionMethod.WRRF_CF, k)

    assert there.items.tolist() == back.items.tolist()


def test_equation_5_by_hand() -> None:
    fused = fuse(arrays([[7, 3], [3, 9]]), [1.0, 1.0], FusionMethod.RRF, k=10)

    assert fused.items.tolist() == [3, 7, 9]
    np.testing.assert_allclose(fused.scores, [1 / 12 + 1 / 11, 1 / 11, 1 / 12], rtol=1e-6)


def test_equation_6_lets_the_nearer_community_win() -> None:
    lists = arrays([[1, 2], [2, 1]])

    assert fuse(lists, [0.9, 0.2], FusionMethod.WRRF_CF, k=0).items.tolist() == [1, 2]
    assert fuse(lists, [0.2, 0.9], FusionMethod.WRRF_CF, k=0).items.tolist() == [2, 1]


def test_count_sees_the_head_of_each_list_only() -> None:
    fused = fuse(arrays([[5, 6, 7], [7, 5, 8]]), [1.0, 1.0], FusionMethod.COUNT, k=0, count_depth=2)

    assert fused.items.tolist() == [5, 7, 6, 8]
    assert fused.scores.tolist() == [2.0, 1.0, 1.0, 0.0]


def test_sums_that_differ_by_rounding_only_are_ties() -> None:
    ranks_of_1, ranks_of_2 = (2, 6, 1), (1, 2, 6)
    assert sum(1 / rank for rank in ranks_of_1) < sum(1 / rank for rank in ranks_of_2)  # as computers add
    lists = [
        _with_ranks({a: 1, b: 2}, list_number)
        for list_number, (a, b) in enumerate(zip(ranks_of_1, ranks_of_2, strict=True))
    ]

    fused = fuse(arrays(lists), [1.0] * 3, FusionMethod.RRF, k=0)

    assert [item for item in fused.items.tolist() if item in (1, 2)] == [1, 2]


def _with_ranks(items: dict[int, int], list_number: int) -> list[int]:
    """A ranking that has some items at given ranks, and others that no other list has."""
    return [items.get(rank, 100 * (list_number + 1) + rank) for rank in range(1, max(items) + 1)]


@pytest.mark.parametrize("method", list(FusionMethod))
@pytest.mark.parametrize("lists", [[], [[]], [[], []]])
def test_nothing_fuses_to_nothing(method: FusionMethod, lists: list[list[int]]) -> None:
    fused = fuse(arrays(lists), [1.0] * len(lists), method, k=0)

    assert len(fused) == 0
    assert (fused.items.dtype, fused.scores.dtype) == (np.int32, np.float32)


def test_weights_come_from_the_membership_that_the_method_names() -> None:
    members = [Membership(0, 0.9, 0.3), Membership(4, 0.4, 0.7)]

    assert list_weights(FusionMethod.WRRF_CF, members) == [0.9, 0.4]
    assert list_weights(FusionMethod.WRRF_LLM, members) == [0.3, 0.7]
    assert list_weights(FusionMethod.RRF, members) == list_weights(FusionMethod.COUNT, members) == [1.0, 1.0]


def test_scores_add_up_as_standard_deviations_above_the_last_of_each_list() -> None:
    """An item that a list does not hold counts as its last; a list that makes no difference has no say."""
    lists = [ranked([1, 2, 3], [-1.0, -4.0, -6.0]), ranked([2, 3], [-3.0, -4.0]), ranked([3, 1], [7.0, 7.0])]

    fused = fuse(lists, [1.0, 2.0, 5.0], FusionMethod.SCORES, k=0)

    spread = np.std([-1.0, -4.0, -6.0])
    assert fused.items.tolist() == [2, 1, 3]
    np.testing.assert_allclose(fused.scores, [2.0 / spread + 2 * 1.0 / 0.5, 5.0 / spread, 0.0], rtol=1e-6)


@given(
    lists=rankings,
    constants=st.lists(st.integers(-64, 64), min_size=6, max_size=6),
    factors=st.lists(st.sampled_from([0.25, 0.5, 2.0, 8.0]), min_size=6, max_size=6),
)
def test_the_unit_and_the_offset_of_a_lists_scores_change_nothing(
    lists: list[list[int]], constants: list[int], factors: list[float]
) -> None:
    logits = arrays(lists)
    others = [
        RankedList(r.items, np.float32(f) * r.scores + np.float32(c))
        for r, c, f in zip(logits, constants, factors, strict=False)
    ]

    there = fuse(logits, [1.0] * len(lists), FusionMethod.SCORES, k=0)
    here = fuse(others, [1.0] * len(lists), FusionMethod.SCORES, k=0)

    assert here.items.tolist() == there.items.tolist()
    np.testing.assert_allclose(here.scores, there.scores, atol=1e-4)


def test_accuracies_are_normalised_by_a_softmax() -> None:
    weights = accuracy_weights(np.asarray([1.0, 0.0, 0.0], np.float32))

    np.testing.assert_allclose(weights, [np.e / (np.e + 2), 1 / (np.e + 2), 1 / (np.e + 2)], rtol=1e-6)
    assert accuracy_weights(np.zeros(4, np.float32)).tolist() == [0.25] * 4
    assert len(accuracy_weights(np.empty(0, np.float32))) == 0
