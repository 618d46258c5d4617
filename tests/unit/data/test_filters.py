import numpy as np
import polars as pl
import pytest
from data_support import interactions, pairs

from models.contract.errors import DataError
from models.data.filters import (
    FilterReport,
    Filters,
    apply_filters,
    at_least,
    chronological,
    drop_duplicates,
    k_core,
)


def test_chronological_by_user_then_time_then_position_then_file_order():
    table = interactions(
        ("b", "1", 5), ("a", "4", 9), ("a", "3", 7), ("a", "2", 7), ("a", "1", 7), position=[0, 0, 2, 1, 1]
    )
    assert pairs(chronological(table)) == [("a", "2"), ("a", "1"), ("a", "3"), ("a", "4"), ("b", "1")]


def test_position_orders_a_user_with_an_unknown_timestamp():
    table = interactions(("a", "3", None), ("a", "2", 1), ("a", "1", 2), position=[3, 2, 1])
    assert pairs(chronological(table)) == [("a", "1"), ("a", "2"), ("a", "3")]


def test_a_given_split_breaks_ties_of_time():
    table = interactions(("a", "2", 7), ("a", "1", 7), split=["test", "train"])
    assert pairs(chronological(table)) == [("a", "1"), ("a", "2")]


def test_min_rating_keeps_the_threshold_itself():
    table = interactions(("a", "1", 0), ("a", "2", 0), rating=[3.5, 4.0])
    assert pairs(at_least(table, 4.0)) == [("a", "2")]


def test_min_rating_refuses_a_table_without_ratings():
    with pytest.raises(DataError, match="rating: min_rating is 4, but 1 of 2 have no rating"):
        at_least(interactions(("a", "1", 0), ("a", "2", 0), rating=[5.0, None]), 4.0)


@pytest.mark.parametrize(("keep", "expected"), [("first", ["x", "y"]), ("last", ["y", "x"]), ("all", ["x", "y", "x"])])
def test_duplicate_policy(keep, expected):
    table = interactions(("a", "x", 1), ("a", "y", 2), ("a", "x", 3))
    assert [item for _, item in pairs(drop_duplicates(table, keep))] == expected


def test_the_same_item_of_another_user_is_no_duplicate():
    assert drop_duplicates(interactions(("a", "x", 1), ("b", "x", 1)), "first").height == 2


def test_k_core_cascades_and_keeps_order():
    square = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    chain = [("c", "y"), ("c", "z"), ("d", "z"), ("d", "w")]  # w has one user: d falls, then z, then c
    table = interactions(*((u, i, 0) for u, i in chain + square))
    assert pairs(k_core(table, 2, 2)) == square


def test_k_core_thresholds_of_users_and_items_are_separate():
    table = interactions(("a", "x", 0), ("a", "y", 0), ("b", "x", 0))
    assert pairs(k_core(table, 1, 2)) == [("a", "x"), ("b", "x")]
    assert pairs(k_core(table, 2, 1)) == [("a", "x"), ("a", "y")]


def test_k_core_of_nothing_dense_enough_is_empty():
    assert k_core(interactions(("a", "x", 0), ("b", "y", 0)), 2, 2).is_empty()


def test_k_core_equals_its_definition_on_random_tables():
    rng = np.random.default_rng(3)
    table = interactions(*((str(u), str(i), 0) for u, i in rng.integers(0, 40, (190, 2))))
    core = table
    while True:
        smaller = core.filter((pl.len().over("user_id") >= 3) & (pl.len().over("item_id") >= 4))
        if smaller.height == core.height:
            break
        core = smaller
    assert 0 < core.height < table.height
    assert k_core(table, 3, 4).equals(core)


def test_apply_filters_reports_what_each_left_out():
    table = interactions(
        ("a", "x", 3), ("a", "x", 1), ("a", "y", 2), ("b", "y", 1), ("c", "z", 1), rating=[5.0, 4.0, 4.0, 1.0, 5.0]
    )
    kept, report = apply_filters(table, Filters(4.0, "first", core_users=2, core_items=1))
    assert kept.select("item_id", "timestamp").rows() == [("x", 1), ("y", 2)]
    assert report == FilterReport(below_min_rating=1, duplicates=1, outside_core=1)


def test_apply_filters_refuses_to_leave_nothing():
    with pytest.raises(DataError, match="no interaction is left of 1"):
        apply_filters(interactions(("a", "x", 1)), Filters(core_users=5))
