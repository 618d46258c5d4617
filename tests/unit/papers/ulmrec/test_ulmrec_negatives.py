"""What stands beside the target in training."""

from dataclasses import replace

import numpy as np
import pytest
from support.ulmrec import ranking_data

from models.contract.errors import ConfigError
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.negatives import Negatives, target_places
from models.types import Sequences

TRAIN = Sequences.of([np.asarray([0, 1, 2, 3], np.int32)])


def drawn(negatives: Negatives, times: int = 200) -> list[tuple[list[int], int]]:
    rng = np.random.default_rng(0)
    found = [negatives.candidates(0, 2, rng) for _ in range(times)]
    return [(items.tolist(), place) for items, place in found]


def test_the_target_stands_anywhere_among_items_that_the_user_has_not_met() -> None:
    found = drawn(Negatives(TRAIN, 50, 5, None))
    assert {place for _, place in found} == {0, 1, 2, 3, 4}
    for items, place in found:
        assert items[place] == 2
        assert len(set(items)) == 5
        assert not {0, 1, 3} & set(items)
    assert {item for items, _ in found for item in items} == {2, *range(4, 50)}


def test_who_has_met_nearly_everything_has_fewer_candidates() -> None:
    assert all(sorted(items) == [2, 4, 5] for items, _ in drawn(Negatives(TRAIN, 6, 5, None)))
    assert drawn(Negatives(TRAIN, 4, 5, None), 1) == [([2], 0)]


def test_what_was_retrieved_comes_first() -> None:
    few = Negatives(TRAIN, 50, 5, np.asarray([[1, 2, 40, 41, -1]], np.int32))
    assert all({2, 40, 41} < set(items) and len(items) == 5 for items, _ in drawn(few))
    many = Negatives(TRAIN, 50, 5, np.arange(10, 30, dtype=np.int32)[None])
    assert {item for items, _ in drawn(many) for item in items} == {2, *range(10, 30)}


def test_in_the_retrievers_order_the_target_stands_where_it_would_be() -> None:
    retrieved = np.asarray([[1, 2, 40, 41, 42, 43, 44]], np.int32)
    found = drawn(Negatives(TRAIN, 50, 5, retrieved, np.asarray([0.8, 0.0, 0.2, 0.0, 0.0])))
    assert {tuple(items) for items, _ in found} == {(2, 40, 41, 42, 43), (40, 41, 2, 42, 43)}
    assert 120 < sum(place == 0 for _, place in found) < 190


def test_a_short_list_in_the_retrievers_order_is_filled_up_behind() -> None:
    short = Negatives(TRAIN, 6, 5, np.asarray([[5, -1]], np.int32), np.asarray([0.0, 0.0, 0.0, 0.0, 1.0]))
    assert drawn(short, 1) == [([5, 4, 2], 2)]


def test_places_are_those_of_validation() -> None:
    places = target_places(ranking_data(), 6)
    assert places.tolist() == [1 / 46, 1 / 46, 41 / 46, 1 / 46, 1 / 46, 1 / 46]


def test_the_order_of_random_ones_is_refused() -> None:
    with pytest.raises(ConfigError, match="order: 'retrieved' with random negatives; expected retrieved ones"):
        ULMRecConfig(order="retrieved")
    config = replace(ULMRecConfig(), negatives="retrieved", order="retrieved", candidates=6)
    data = replace(ranking_data(), retrieved=np.zeros((40, 3), np.int32))
    assert Negatives.of(data, config).places is not None
    assert Negatives.of(data, replace(config, order="shuffled")).places is None
