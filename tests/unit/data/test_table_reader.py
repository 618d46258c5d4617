from datetime import UTC, datetime

import polars as pl
import pytest
from data_support import write

from models.contract.errors import DataError
from models.data import table


def test_csv_with_a_column_map(tmp_path):
    path = write(tmp_path / "a.csv", 'who,note,what,timestamp\nu1,"x, y",i1,10\nu2,,,20\n')
    read = table.read_interactions(path, {"user_id": "who", "item_id": "what"})
    assert read.frame.rows() == [("u1", "i1", 10, None, None, None)]
    assert read.report.malformed == {"item_id is empty": 1}
    assert read.report.samples == (f"{path}:3: item_id is empty: u2,,,20",)


def test_one_column_of_the_file_may_serve_twice(tmp_path):
    path = write(tmp_path / "a.csv", "user_id,item_id,t\nu,i,7\n")
    read = table.read_interactions(path, {"timestamp": "t", "position": "t"})
    assert read.frame.row(0) == ("u", "i", 7, None, 7, None)


def test_tsv_is_separated_by_tabs(tmp_path):
    path = write(tmp_path / "a.tsv", "user_id\titem_id\nu\ta,b\n")
    assert table.read_interactions(path, {}).frame["item_id"].to_list() == ["a,b"]


def test_parquet_with_integer_ids_and_instants(tmp_path):
    path = tmp_path / "a.parquet"
    instant = datetime(2020, 1, 1, tzinfo=UTC)
    pl.DataFrame({"user_id": [1, None], "item_id": [2, 3], "at": [instant, instant]}).write_parquet(path)
    read = table.read_interactions(path, {"timestamp": "at"})
    assert read.frame.row(0) == ("1", "2", 1577836800, None, None, None)
    assert read.report.malformed == {"user_id is empty": 1}
    assert read.report.samples[0].startswith(f"{path}:2: user_id is empty: {{'user_id': None, 'item_id': 3")


def test_items_with_attributes_and_categories_as_text_or_lists(tmp_path):
    frame = pl.DataFrame({"item_id": ["1", "2"], "name": ["A", None], "categories": ["x > y", None], "year": [1995, 2]})
    frame.write_parquet(tmp_path / "text.parquet")
    read = table.read_items(tmp_path / "text.parquet", {"title": "name"}, ["year"], " > ")
    assert read.frame.rows() == [("1", "A", None, ["x", "y"], "1995"), ("2", None, None, [], "2")]
    frame.with_columns(categories=pl.Series([["x > y"], None])).write_parquet(tmp_path / "lists.parquet")
    read = table.read_items(tmp_path / "lists.parquet", {}, [], " > ")
    assert read.frame["categories"].to_list() == [["x > y"], []]


def test_a_mapped_column_that_is_missing_is_named(tmp_path):
    path = write(tmp_path / "a.csv", "user_id,item_id\nu,i\n")
    with pytest.raises(DataError, match=r"a\.csv: column 'stars' \(for rating\) not found; the file has user_id, item"):
        table.read_interactions(path, {"rating": "stars"})


def test_an_id_column_that_is_missing_is_named(tmp_path):
    path = write(tmp_path / "a.csv", "user,item_id\nu,i\n")
    with pytest.raises(
        DataError,
        match=r"column 'user_id' .*the file has user, item_id; say which one it is in the column map, user_id=…",
    ):
        table.read_interactions(path, {})


def test_an_unknown_canonical_name_is_refused(tmp_path):
    with pytest.raises(DataError, match="'user' is none of user_id, item_id"):
        table.read_interactions(write(tmp_path / "a.csv", "u\n1\n"), {"user": "u"})


def test_float_ids_are_refused_because_their_text_is_not_the_id(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"user_id": [1.0], "item_id": [2]}).write_parquet(path)
    with pytest.raises(DataError, match="column 'user_id' holds floats"):
        table.read_interactions(path, {})


def test_a_file_that_is_not_parquet_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read as parquet"):
        table.read_interactions(write(tmp_path / "a.parquet", "user_id,item_id\n"), {})


RETAIL = "InvoiceDate;Customer;StockCode;Description\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_csv_is_separated_by_what_its_header_is(tmp_path, separator):
    text = "user_id,item_id,timestamp\nu,a b,7\n".replace(",", separator)
    assert table.read_interactions(write(tmp_path / "a.csv", text), {}).frame.row(0)[:3] == ("u", "a b", 7)


def test_a_transactions_file_names_its_items_by_their_most_frequent_title(tmp_path):
    rows = ["2024-01-31 12:00;7;a;?", "2024-01-31 12:00;8;a;", "2024-02-01 09:30;7;a;CAKE TIN"]
    rows += ["2024-02-01 09:30;8;a; CAKE  TIN ", "2024-02-02 10:00;8;b;", "2024-02-02 10:00;;a;"]
    path = write(tmp_path / "a.csv", RETAIL + "\n".join(rows) + "\n")
    columns = {"user_id": "Customer", "item_id": "StockCode", "timestamp": "InvoiceDate", "title": "Description"}
    interactions, items = table.read_transactions(path, columns, [], " > ")
    assert interactions.frame.height == 5
    assert interactions.frame.row(0)[:3] == ("7", "a", 1706702400)
    assert interactions.report.malformed == {"user_id is empty": 1}
    assert dict(items.frame.select("item_id", "title").iter_rows()) == {"a": "CAKE TIN", "b": None}


def test_titles_under_their_own_name_and_attributes_are_found_in_transactions(tmp_path):
    text = "user_id,item_id,title,categories,colour\nu,a,Tin,Kitchen > Baking,red\n"
    _, items = table.read_transactions(write(tmp_path / "a.csv", text), {}, ["colour"], " > ")
    assert items.frame.row(0) == ("a", "Tin", None, ["Kitchen", "Baking"], "red")


def test_a_file_in_another_encoding(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("user_id,item_id,title\nu,a,Crème brûlée\n".encode("latin-1"))
    assert table.read_interactions(path, {}).report.malformed == {"not UTF-8": 1}
    _, items = table.read_transactions(path, {}, [], " > ", table.Written(encoding="latin-1"))
    assert items.frame["title"].to_list() == ["Crème brûlée"]


def test_a_header_in_another_encoding_names_the_setting(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("Käufer,item_id\nu,a\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"header is not UTF-8: .*set data\.encoding"):
        table.read_interactions(path, {"user_id": "Käufer"})
