"""Voters' lists in arrays: what goes in comes out, from the disk too."""

from pathlib import Path

import numpy as np
import pytest

from models.contract.types import Membership, Profile, RankedList, item_numbers
from models.evaluation.metrics import NO_ITEM
from models.ranking.answers import Answers, VoterLists
from models.types import Sequences

NOBODY = Profile(np.zeros(2, np.float32), ())


def ranked(*items: int) -> RankedList:
    return RankedList(item_numbers(items), np.linspace(0, -1, len(items), dtype=np.float32))


@pytest.fixture
def lists() -> VoterLists:
    made = VoterLists.empty(("c00", "c01", "cf"), n=2, candidates=3)
    made.put(0, 0, ranked(5, 6))
    made.put(0, 2, ranked(7, 8, 9))
    made.put(1, 1, ranked(4))
    return made


def test_a_list_comes_out_as_it_went_in(lists: VoterLists) -> None:
    assert len(lists) == 2
    assert lists.get(0, "c00").items.tolist() == [5, 6]
    assert lists.get(0, "c00").scores.tolist() == [0.0, -1.0]
    assert lists.get(1, "c01").items.tolist() == [4]
    assert len(lists.get(1, "cf")) == len(lists.get(0, "c01")) == 0


def test_a_list_that_is_too_long_is_cut(lists: VoterLists) -> None:
    lists.put(1, 2, ranked(1, 2, 3, 4, 5))
    assert lists.get(1, "cf").items.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("m", "expected"), [(2, [[7, 8], [NO_ITEM] * 2]), (4, [[7, 8, 9, NO_ITEM], [NO_ITEM] * 4])])
def test_the_best_of_one_voter_have_any_width(lists: VoterLists, m: int, expected: list[list[int]]) -> None:
    assert lists.best("cf", m).tolist() == expected


def test_lists_are_read_back_from_the_disk_as_needed(lists: VoterLists, tmp_path: Path) -> None:
    lists.save(tmp_path)
    loaded = VoterLists.load(tmp_path)
    assert loaded.names == lists.names
    assert isinstance(loaded.items.base, np.memmap)
    np.testing.assert_array_equal(loaded.items, lists.items)
    np.testing.assert_array_equal(loaded.scores, lists.scores)
    assert (loaded.items.dtype, loaded.scores.dtype) == (np.int32, np.float32)


def test_other_voters_join_with_shorter_or_longer_lists(lists: VoterLists) -> None:
    for candidates in (2, 5):
        other = VoterLists.empty(("SASRec",), 2, candidates)
        other.put(0, 0, ranked(1, 2, 3, 4, 5))
        joined = lists.joined(other)
        assert joined.names == ("c00", "c01", "cf", "SASRec")
        assert joined.get(0, "SASRec").items.tolist() == [1, 2, 3][: min(candidates, 3)]
        assert joined.get(0, "cf").items.tolist() == [7, 8, 9][: min(candidates, 3)]


def test_voters_are_the_users_communities_nearest_first_then_the_others(lists: VoterLists) -> None:
    members = (Membership(1, 0.9), Membership(0, 0.4))
    answers = Answers(
        Sequences.of([item_numbers([1]), item_numbers([2, 3])]),
        ("c00", "c01"),
        [Profile(np.zeros(2, np.float32), members), NOBODY],
        lists,
        allowed=np.asarray([[5, 6, 7], [4, 5, 6]], np.int32),
    )
    first, second = answers
    assert [(voter.name, voter.membership) for voter in first.voters] == [
        ("c01", members[0]),
        ("c00", members[1]),
        ("cf", None),
    ]
    assert [voter.ranking.items.tolist() for voter in first.voters] == [[], [5, 6], [7, 8, 9]]
    assert [voter.name for voter in second.voters] == ["cf"]  # what c01 said is nobody's vote here
    assert second.history.tolist() == [2, 3]
    assert second.allowed is not None
    assert second.allowed.tolist() == [4, 5, 6]
