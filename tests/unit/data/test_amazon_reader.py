import gzip
import json

from data_support import write

from models.data import amazon

REVIEW = {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1369440000, "reviewText": "long " * 9}


def test_reviews_gzipped_with_every_kind_of_malformed_row(tmp_path):
    untimed = {k: v for k, v in REVIEW.items() if k != "unixReviewTime"}
    rows = [REVIEW, untimed, {**REVIEW, "overall": "five"}, {**REVIEW, "asin": ""}]
    path = tmp_path / "reviews.json.gz"
    path.write_bytes(gzip.compress("\n".join([*map(json.dumps, rows), "{", ""]).encode()))
    table = amazon.read_interactions(path)
    assert table.frame.select("user_id", "item_id", "timestamp", "rating").rows() == [("A1", "B1", 1369440000, 5.0)]
    assert table.report.malformed == {
        "Object missing required field `unixReviewTime`": 1,
        "Expected `float`, got `str` - at `$.overall`": 1,
        "item_id is empty": 1,
        "not JSON (DecodeError)": 1,
    }
    assert f"{path}:5: not JSON (DecodeError): {{" in table.report.samples


def test_metadata_as_json_with_flat_and_nested_categories(tmp_path):
    rows = [
        {"asin": "B1", "title": "Q &amp; A", "brand": "OPI", "categories": [["Beauty", "Nails"], ["Beauty", "Gifts"]]},
        {"asin": "B2", "category": ["Beauty", "Skin &amp; Hair"], "brand": ""},
        {"asin": "B3", "categories": ["Beauty"], "price": 3},
    ]
    table = amazon.read_items(write(tmp_path / "meta.jsonl", "\n".join(map(json.dumps, rows))))
    assert table.frame.rows() == [
        ("B1", "Q & A", "OPI", ["Beauty", "Nails", "Gifts"]),
        ("B2", None, None, ["Beauty", "Skin & Hair"]),
        ("B3", None, None, ["Beauty"]),
    ]


def test_metadata_as_python_literals_and_never_as_code(tmp_path):
    lines = [
        r"{'asin': 'B1', 'title': 'Men\'s a\/b', 'categories': [['Beauty']]}",
        "__import__('os').getcwd()",
        "{'title': 'no id'}",
        "'text'",
    ]
    table = amazon.read_items(write(tmp_path / "meta.json", "\n".join(lines)))
    assert table.frame.rows() == [("B1", r"Men's a\/b", None, ["Beauty"])]
    assert table.report.malformed == {
        "not JSON (ValueError)": 1,
        "Object missing required field `asin`": 1,
        "Expected `object`, got `str`": 1,
    }
