import pytest
from data_support import write

from models.contract.errors import DataError
from models.data import atomic


def test_interactions_in_the_order_of_the_header(tmp_path):
    text = "item_id:token\tuser_id:token\ttimestamp:float\n242\t196\t881250949\n302\t186\tx\n"
    table = atomic.read_interactions(write(tmp_path / "a.inter", text))
    assert table.frame.select("user_id", "item_id", "timestamp", "rating").rows() == [("196", "242", 881250949, None)]
    assert table.report.malformed == {"timestamp is not a number": 1}


def test_items_of_ml_100k(tmp_path):
    text = (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tAnimation Children's\n2\tGolden\"Eye\t1995\n"
    )
    table = atomic.read_items(write(tmp_path / "a.item", text))
    assert table.frame.rows() == [("1", "Toy Story", None, ["Animation", "Children's"], "1995")]
    assert table.report.malformed == {"3 fields instead of 4": 1}


def test_fields_of_another_name_become_attributes(tmp_path):
    text = "item_id:token\ttitle:token_seq\tprice:float\n1\tBook\t9.99\n"
    frame = atomic.read_items(write(tmp_path / "a.item", text)).frame
    assert frame["attribute.price"].to_list() == ["9.99"]
    assert frame["categories"].to_list() == [[]]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("user_id:token\titem:token", "column 'item_id' not found; the file has user_id, item"),
        ("user_id\titem_id:token", "'user_id': expected name:type"),
        ("user_id:text\titem_id:token", "'user_id': expected name:type"),
    ],
)
def test_a_header_that_is_not_atomic_is_refused(tmp_path, header, reason):
    with pytest.raises(DataError, match=reason):
        atomic.read_interactions(write(tmp_path / "a.inter", header + "\n1\t2\n"))


def test_two_fields_for_one_column_are_refused(tmp_path):
    path = write(tmp_path / "a.item", "item_id:token\tclass:token_seq\tgenre:token_seq\n1\ta\tb\n")
    with pytest.raises(DataError, match="several fields could be categories"):
        atomic.read_items(path)
