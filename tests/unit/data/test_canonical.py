from pathlib import Path

import polars as pl
import pytest

from models.data.canonical import interactions_table, items_table

PATH = Path("file.csv")


def raw(**columns):
    n = len(next(iter(columns.values())))
    return pl.DataFrame({"line": list(range(1, n + 1)), "reason": pl.Series([None] * n, dtype=pl.String), **columns})


def one_interaction(required=(), **fields):
    fields = {"user_id": "u", "item_id": "i"} | fields
    return interactions_table(PATH, [raw(**{k: [v] for k, v in fields.items()})], required)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_id": ""}, "user_id is empty"),
        ({"item_id": None}, "item_id is empty"),
        ({"item_id": "a\x00b"}, "item_id holds control characters"),
        ({"item_id": "é" * 128}, "item_id is longer than 255 bytes"),
        ({"rating": "good"}, "rating is not a number"),
        ({"rating": float("nan")}, "rating is not a number"),
        ({"timestamp": "yesterday"}, "timestamp is not a number"),
        ({"timestamp": 1318896000000}, "timestamp is not from 0 to 4294967295"),
        ({"timestamp": -1}, "timestamp is not from 0 to 4294967295"),
        ({"split": "holdout"}, "split is none of train, valid, test"),
    ],
)
def test_a_malformed_value_is_counted_sampled_and_left_out(fields, reason):
    table = one_interaction(**fields)
    assert table.frame.is_empty()
    assert table.report.malformed == {reason: 1}
    assert table.report.samples[0].startswith(f"file.csv:1: {reason}: ")


def test_values_are_cast_and_absent_columns_null():
    table = one_interaction(timestamp=" 881250949.0 ", rating="3.5", split="val")
    assert table.frame.row(0) == ("u", "i", 881250949, 3.5, None, "valid")
    assert table.report.n_malformed == 0


def test_an_empty_optional_number_is_null_and_a_required_one_malformed():
    assert one_interaction(rating="").frame["rating"].to_list() == [None]
    assert one_interaction(("rating",), rating="").report.malformed == {"rating is empty": 1}


def test_the_first_problem_of_a_row_counts_once():
    assert one_interaction(user_id="", rating="x").report.malformed == {"user_id is empty": 1}


def test_reports_of_chunks_add_up():
    chunks = [raw(user_id=["a", ""], item_id=["x", "x"]), raw(user_id=["", "b"], item_id=["x", ""])]
    table = interactions_table(PATH, chunks)
    assert table.frame.height == 1
    assert (table.report.n_rows, table.report.malformed) == (4, {"user_id is empty": 2, "item_id is empty": 1})


def test_items_are_cleaned_and_the_first_of_each_kept():
    chunk = raw(
        item_id=["1", "2", "1"],
        title=["  A\n  title ", "", "Other"],
        categories=[["x", " y ", "x", ""], None, []],
        **{"attribute.year": ["1995", " ", "1996"]},
    )
    table = items_table(PATH, [chunk])
    assert table.report.n_repeated == 1
    assert table.report.n_malformed == 0
    assert table.frame.rows() == [("1", "A title", None, ["x", "y"], "1995"), ("2", None, None, [], None)]


def test_items_without_categories_have_an_empty_list():
    assert items_table(PATH, [raw(item_id=["1"])]).frame["categories"].to_list() == [[]]
