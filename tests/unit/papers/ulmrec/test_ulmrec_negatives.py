"""What stands beside the target in training."""

import numpy as np

from models.papers.ulmrec.negatives import Negatives
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
