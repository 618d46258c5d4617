import numpy as np
import polars as pl
import pytest
from data_support import interactions

from models.contract.errors import DataError
from models.data.canonical import empty_items, items_table
from models.data.dataset import Dataset, item_order
from models.data.filters import chronological
from models.data.splits import by_window, leave_one_out

ROWS = [("b", "x", 5), ("b", "y", 6), ("a", "z", 1), ("a", "x", 2), ("a", "y", 3), ("a", "w", 4)]


def items():
    chunk = pl.DataFrame(
        {
            "line": [1, 2, 3],
            "reason": pl.Series([None] * 3, dtype=pl.String),
            "item_id": ["x", "y", "untouched"],
            "title": ["X", None, "U"],
            "categories": [["c"], None, None],
            "attribute.year": ["1999", None, None],
        }
    )
    return items_table("items", [chunk]).frame


@pytest.fixture
def dataset():
    return Dataset.build(leave_one_out(chronological(interactions(*ROWS))), items())


def ids(dataset, numbers):
    return "".join(dataset.catalogue.ids[number] for number in numbers)


def test_sequences_are_by_user_id_and_oldest_first(dataset):
    assert dataset.user_ids == ("a", "b")
    assert [ids(dataset, dataset.full[row]) for row in (0, 1)] == ["zxyw", "xy"]
    assert [ids(dataset, dataset.train[row]) for row in (0, 1)] == ["zx", "xy"]
    assert dataset.full_timestamps.tolist() == [1, 2, 3, 4, 5, 6]
    assert dataset.train_timestamps.tolist() == [1, 2, 5, 6]


def test_a_test_history_holds_the_valid_item(dataset):
    valid, test = dataset.examples("valid"), dataset.examples("test")
    assert (ids(dataset, valid.histories[0]), ids(dataset, valid.targets)) == ("zx", "y")
    assert (ids(dataset, test.histories[0]), ids(dataset, test.targets)) == ("zxy", "w")
    assert valid.users.tolist() == test.users.tolist() == [0]


def test_the_catalogue_holds_touched_items_only_with_what_is_known_of_them(dataset):
    assert sorted(dataset.catalogue.ids) == ["w", "x", "y", "z"]
    x = dataset.catalogue.items[dataset.catalogue.number("x")]
    assert (x.title, x.brand, x.categories, x.attributes) == ("X", None, ("c",), {"year": "1999"})
    assert dataset.catalogue.items[dataset.catalogue.number("z")].title is None


def test_item_numbers_do_not_follow_the_sequences():
    items = [f"item{i}" for i in range(2000)]
    numbers = {item_id: number for number, item_id in enumerate(item_order(items))}
    correlation = np.corrcoef([numbers[i] for i in items], np.arange(2000))[0, 1]
    assert abs(correlation) < 0.1
    assert item_order(reversed(items)) == item_order(items)


def test_windows_cut_histories():
    split = by_window(chronological(interactions(*(("a", f"{t:02d}", t) for t in range(20)))), 4)
    dataset = Dataset.build(split, empty_items(), max_history=3)
    test = dataset.examples("test")
    assert [ids(dataset, history) for history in (test.histories[0], test.histories[1])] == ["151617", "161718"]


def test_save_and_load_give_the_same(dataset, tmp_path):
    dataset.save(tmp_path)
    loaded = Dataset.load(tmp_path)
    assert loaded.user_ids == dataset.user_ids
    assert loaded.catalogue.items == dataset.catalogue.items
    assert loaded.max_history is None
    for name in ("full_timestamps", "labels", "targets", "train_timestamps"):
        before, after = getattr(dataset, name), getattr(loaded, name)
        assert np.array_equal(before, after)
        assert before.dtype == after.dtype
    for split in ("full", "train"):
        before, after = getattr(dataset, split), getattr(loaded, split)
        assert np.array_equal(before.offsets, after.offsets)
        assert np.array_equal(before.items, after.items)
        assert (after.offsets.dtype, after.items.dtype) == (np.int64, np.int32)


def test_unknown_timestamps_are_zero():
    table = interactions(*(("a", i, None) for i in "xyz"), position=[0, 1, 2])
    dataset = Dataset.build(leave_one_out(chronological(table)), empty_items())
    assert dataset.full_timestamps.tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["dataset.json", "users.parquet", "interactions.parquet"])
def test_an_incomplete_data_set_is_refused(dataset, tmp_path, name):
    dataset.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match="not a prepared data set"):
        Dataset.load(tmp_path)


def test_another_schema_is_refused(dataset, tmp_path):
    dataset.save(tmp_path)
    (tmp_path / "dataset.json").write_text('{"schema_version": 99, "max_history": null}')
    with pytest.raises(DataError, match="prepare the data set again"):
        Dataset.load(tmp_path)
