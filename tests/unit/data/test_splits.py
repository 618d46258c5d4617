from itertools import pairwise

import numpy as np
import pytest
from data_support import interactions
from hypothesis import given as given_that
from hypothesis import settings
from hypothesis import strategies as st

from models.contract.errors import DataError
from models.data.canonical import empty_items
from models.data.dataset import Dataset
from models.data.filters import chronological
from models.data.splits import TEST, TRAIN, VALID, by_time, by_window, given, leave_one_out

METHODS = {
    "leave-one-out": leave_one_out,
    "windows": lambda ordered: by_window(ordered, 4),
    "time": lambda ordered: by_time(ordered, 0.6, 0.8),
    "instants": lambda ordered: by_time(ordered, 10, 15),
}


def labels(frame, user):
    return frame.filter(user_id=user)["label"].to_list()


def targets(frame, user):
    return frame.filter(user_id=user)["target"].to_list()


def user(name, *timestamps):
    return [(name, f"{name}{i}", t) for i, t in enumerate(timestamps)]


def test_leave_one_out_spares_short_users():
    split = leave_one_out(chronological(interactions(*user("a", 1, 2, 3, 4), *user("b", 1, 2), *user("c", 1, 2, 3))))
    assert labels(split, "a") == [TRAIN, TRAIN, VALID, TEST]
    assert labels(split, "b") == [TRAIN, TRAIN]
    assert labels(split, "c") == [TRAIN, VALID, TEST]
    assert targets(split, "a") == [False, False, True, True]


def test_windows_are_cut_8_1_1_by_the_time_of_their_target():
    split = by_window(chronological(interactions(*user("a", *range(12)))), 3)
    assert labels(split, "a") == [TRAIN] * 10 + [VALID, TEST]


def test_windows_of_a_short_user_are_one_and_context_gets_the_label_of_its_own_time():
    table = interactions(*user("a", *range(20)), *user("late", 1, 18, 30), *user("single", 31))
    split = by_window(chronological(table), 11)
    assert labels(split, "late") == [TRAIN, VALID, TEST]
    assert targets(split, "late") == [False, False, True]
    assert targets(split, "single") == [False]


def test_windows_leave_users_without_time_in_train():
    table = interactions(*user("a", *range(20)), *user("b", None, None, None, None))
    assert labels(by_window(chronological(table), 3), "b") == [TRAIN] * 4


def test_time_by_instants_starts_at_the_instant():
    split = by_time(chronological(interactions(*user("a", 1, 10, 11, 20), *user("new", 12, 21))), 10, 20)
    assert labels(split, "a") == [TRAIN, VALID, VALID, TEST]
    assert targets(split, "new") == [False, True]  # nothing came before the first


def test_time_by_quantiles_of_all_timestamps():
    split = by_time(chronological(interactions(*user("a", *range(0, 1001, 100)))), 0.5, 0.9)
    assert labels(split, "a") == [TRAIN] * 5 + [VALID] * 4 + [TEST] * 2


@pytest.mark.parametrize("method", ["windows", "time"])
def test_splits_by_time_refuse_a_table_without_time(method):
    table = chronological(interactions(*user("a", None, None), position=[0, 1]))
    with pytest.raises(DataError, match="timestamp"):
        METHODS[method](table)


def test_given_split_is_taken_as_it_is():
    table = interactions(*user("a", 1, 2, 3), ("b", "x", 1), split=["train", "valid", "test", "test"])
    split = given(chronological(table))
    assert labels(split, "a") == [TRAIN, VALID, TEST]
    assert targets(split, "b") == [False]


def test_given_split_that_is_missing_or_runs_backwards_is_refused():
    with pytest.raises(DataError, match=r"split: .* no such column"):
        given(chronological(interactions(*user("a", 1, 2))))
    backwards = interactions(*user("a", 1, 2, 3), split=["train", "test", "valid"])
    with pytest.raises(DataError, match=r"1 interactions come after a later split .* a valid one of user 'a'"):
        given(chronological(backwards))


events = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9), st.integers(0, 20)), min_size=12, max_size=60)


def some_interactions(rows):
    """At least one user has two of them: without any window there is nothing to split."""
    return interactions(*((u, str(i), t) for u, i, t in [*rows, ("a", 1, 3), ("a", 2, 4)]))


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=60)
@given_that(rows=events)
def test_no_split_leaks(method, rows):
    """Every history is what came before its target; no train item of a user comes after a target of that user."""
    dataset = Dataset.build(METHODS[method](chronological(some_interactions(rows))), empty_items())
    for split in ("valid", "test"):
        examples = dataset.examples(split)
        for row in range(len(examples)):
            user_row, history = int(examples.users[row]), examples.histories[row]
            whole, train = dataset.full[user_row], dataset.train[user_row]
            before = len(history)
            assert np.array_equal(history, whole[:before])
            assert whole[before] == examples.targets[row]
            assert len(train) <= before
            assert np.array_equal(train, whole[: len(train)])


@settings(deadline=None, max_examples=60)
@given_that(rows=events)
def test_a_split_by_time_is_one_cut_for_all_users(rows):
    split = by_time(chronological(some_interactions(rows)), 0.6, 0.8)
    times = {label: split.filter(label=label)["timestamp"] for label in (TRAIN, VALID, TEST)}
    known = [times[label] for label in (TRAIN, VALID, TEST) if len(times[label])]
    assert all(earlier.max() < later.min() for earlier, later in pairwise(known))


@settings(deadline=None, max_examples=60)
@given_that(rows=events)
def test_a_split_by_windows_trains_on_nothing_later_than_an_evaluated_target(rows):
    split = by_window(
        chronological(interactions(*((u, str(i), t) for u, i, t in [*rows, ("a", 1, 3), ("a", 2, 4)]))), 3
    )
    evaluated = split.filter(target=True)["timestamp"]
    trained = split.filter(label=TRAIN)["timestamp"]
    assert trained.is_empty() or trained.max() <= evaluated.min()
