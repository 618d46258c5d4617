"""Shares of the users: nested, and of nothing but the train part."""

import numpy as np
import pytest
from support.backbones import walk_dataset

from models.data.splits import TRAIN
from models.papers.l2rec.limited import drawn_users, with_share

SHARES = (0.01, 0.1, 0.5)


def test_smaller_shares_are_parts_of_larger_ones() -> None:
    drawn = [drawn_users(8442, share) for share in SHARES]
    assert [chosen.sum() for chosen in drawn] == [84, 844, 4221]
    for smaller, larger in zip(drawn, [*drawn[1:], np.ones(8442, np.bool_)], strict=True):
        assert (smaller <= larger).all()


def test_a_share_is_drawn_and_not_the_first_users() -> None:
    chosen = np.flatnonzero(drawn_users(8442, 0.5))
    assert 3800 < chosen.mean() < 4700


def test_the_smallest_share_has_one_user() -> None:
    assert drawn_users(40, 1e-9).sum() == 1


@pytest.mark.parametrize("share", SHARES)
def test_only_the_drawn_users_are_trained_on(share: float) -> None:
    whole = walk_dataset()
    some = with_share(whole, share)
    lengths, chosen = np.diff(some.train.offsets), drawn_users(len(whole.full), share)
    np.testing.assert_array_equal(lengths, np.where(chosen, np.diff(whole.train.offsets), 0))
    first = int(np.flatnonzero(chosen)[0])
    np.testing.assert_array_equal(some.train[first], whole.train[first])
    assert (some.labels == TRAIN).sum() == lengths.sum()


def test_examples_are_those_of_all_users() -> None:
    whole = walk_dataset()
    some = with_share(whole, 0.1)
    for split in ("valid", "test"):
        ours, theirs = some.examples(split), whole.examples(split)
        np.testing.assert_array_equal(ours.targets, theirs.targets)
        np.testing.assert_array_equal(ours.histories.items, theirs.histories.items)
        np.testing.assert_array_equal(ours.users, theirs.users)


def test_all_users_are_the_data_set_itself() -> None:
    whole = walk_dataset()
    assert with_share(whole, 1) is whole
