"""Labelled pairs: read, and made of implicit data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_support import SHARED
from support.checkerboard import as_dataset, checkerboard
from support.labelled import write_labelled

from models.contract.catalogue import Catalogue
from models.contract.errors import DataError
from models.contract.types import item_numbers
from models.data.labelled import LONGEST_HISTORY, LabelledData, LabelledPairs, labelled_of, read_labelled
from models.data.splits import TEST, TRAIN, VALID
from models.types import Sequences

ROWS = [
    ("u2", "a", 1, "train"),
    ("u1", "a", 1, "train"),
    ("u1", "b", 0, "train"),
    ("u1", "c", 1, "valid"),
    ("u2", "d", 0, "valid"),
    ("u2", "b", 0, "test"),
    ("u1", "d", 0, "test"),
    ("u1", "b", 1, "test"),
]
ITEMS = ["a", "b", "c", "d", "never"]
COLLM = SHARED / "ml-1m-collm"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_labelled(tmp_path, ROWS, ITEMS)
    return tmp_path


def described(data: LabelledData, pairs: LabelledPairs) -> list[tuple[str, str, int, list[str]]]:
    """(user id, item id, label, ids of the history) of every pair."""
    ids = data.catalogue.ids
    return [
        (data.user_ids[user], ids[item], int(label), [ids[i] for i in pairs.histories[row]])
        for row, (user, item, label) in enumerate(zip(pairs.users, pairs.items, pairs.labels, strict=True))
    ]


def change(directory: Path, file: str, *columns: pl.Expr) -> None:
    path = directory / file
    pl.read_parquet(path).with_columns(*columns).write_parquet(path)


def test_histories_are_what_was_liked_before_across_splits(directory: Path) -> None:
    data = read_labelled(directory)
    assert described(data, data.train) == [("u1", "a", 1, []), ("u1", "b", 0, ["a"]), ("u2", "a", 1, [])]
    assert described(data, data.valid) == [("u1", "c", 1, ["a"]), ("u2", "d", 0, ["a"])]
    assert described(data, data.test) == [
        ("u1", "d", 0, ["a", "c"]),
        ("u1", "b", 1, ["a", "c"]),
        ("u2", "b", 0, ["a"]),
    ]


def test_items_keep_titles_and_categories_and_those_without_rows_stay(directory: Path) -> None:
    catalogue = read_labelled(directory).catalogue
    assert len(catalogue) == 5
    item = catalogue.items[catalogue.number("never") or 0]
    assert (item.title, item.categories) == ("Title, The never", ("Drama", "War"))


def test_the_order_of_the_file_does_not_matter(directory: Path) -> None:
    before = read_labelled(directory)
    path = directory / "interactions.parquet"
    pl.read_parquet(path).reverse().write_parquet(path)
    after = read_labelled(directory)
    assert described(before, before.test) == described(after, after.test)


def test_types_are_those_of_item_numbers_and_rows(directory: Path) -> None:
    train = read_labelled(directory).train
    assert (train.users.dtype, train.items.dtype, train.labels.dtype) == (np.int64, np.int32, np.int8)
    assert train.histories.items.dtype == np.int32


def test_long_histories_keep_the_newest(tmp_path: Path) -> None:
    items = [f"i{n}" for n in range(LONGEST_HISTORY + 3)]
    rows = [("u", item, 1, "train") for item in items] + [("u", "i0", 0, split) for split in ("train", "valid", "test")]
    rows += [("u", "i1", 1, split) for split in ("valid", "test")]
    write_labelled(tmp_path, rows, items)
    data = read_labelled(tmp_path)
    assert described(data, data.valid)[0][3] == items[3:]


@pytest.mark.parametrize("column", ["user_id", "item_id", "label", "split", "order"])
def test_a_missing_column_is_named(directory: Path, column: str) -> None:
    path = directory / "interactions.parquet"
    pl.read_parquet(path).drop(column).write_parquet(path)
    with pytest.raises(DataError, match=rf"interactions\.parquet: no column '{column}'"):
        read_labelled(directory)


@pytest.mark.parametrize("column", ["item_id", "title", "categories"])
def test_a_missing_column_of_items_is_named(directory: Path, column: str) -> None:
    path = directory / "items.parquet"
    pl.read_parquet(path).drop(column).write_parquet(path)
    with pytest.raises(DataError, match=rf"items\.parquet: no column '{column}'"):
        read_labelled(directory)


@pytest.mark.parametrize("file", ["interactions.parquet", "items.parquet"])
@pytest.mark.parametrize("content", [None, b"no table"])
def test_a_file_that_is_no_table_is_named(directory: Path, file: str, content: bytes | None) -> None:
    (directory / file).unlink()
    if content is not None:
        (directory / file).write_bytes(content)
    with pytest.raises(DataError, match=file):
        read_labelled(directory)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pl.lit(2).alias("label"), "label: 2; expected one of 0, 1"),
        (pl.lit(0.5).alias("label"), "label: 0.5; expected one of 0, 1"),
        (pl.lit(None, pl.Int8).alias("label"), "label: 8 empty values"),
        (pl.lit(1).alias("label"), "label: 1 in all rows of train; expected liked ones and others"),
        (pl.lit("train").alias("split"), "split: no row of valid"),
        (pl.col("split").replace("test", "tset"), "split: 'tset'; expected one of train, valid, test"),
        (pl.col("item_id").replace("d", "z"), "item_id: 'z' has no row in items.parquet"),
    ],
)
def test_wrong_values_are_named(directory: Path, column: pl.Expr, reason: str) -> None:
    change(directory, "interactions.parquet", column)
    with pytest.raises(DataError, match=rf"interactions\.parquet: {reason}"):
        read_labelled(directory)


def test_an_item_that_occurs_twice_is_refused(directory: Path) -> None:
    change(directory, "items.parquet", pl.lit("a").alias("item_id"))
    with pytest.raises(DataError, match=r"items\.parquet: item_id: an id is empty or occurs twice"):
        read_labelled(directory)


def test_implicit_interactions_are_liked_and_negatives_never_met() -> None:
    board = checkerboard()
    dataset = as_dataset(board)
    data = labelled_of(dataset, negatives=2, seed=0)
    assert data.train.labels.reshape(-1, 3).tolist() == [[1, 0, 0]] * len(board.train.items)
    np.testing.assert_array_equal(data.train.items[::3], board.train.items)
    np.testing.assert_array_equal(data.valid.items[::3], board.valid.targets)
    for pairs, met in ((data.train, dataset.train), (data.valid, dataset.full)):
        negatives = pairs.labels == 0
        for user, item in zip(pairs.users[negatives].tolist(), pairs.items[negatives].tolist(), strict=True):
            assert item not in met[user]


def test_negatives_do_not_tell_what_is_held_out() -> None:
    dataset = as_dataset(checkerboard())
    tested = replace(dataset, labels=np.where(dataset.targets, TEST, TRAIN).astype(np.int8))
    tested.labels[tested.full.offsets[1:] - 2] = VALID
    tested.targets[tested.full.offsets[1:] - 2] = True
    data, test = labelled_of(tested, negatives=30, seed=0), tested.examples("test")
    answer = dict(zip(test.users.tolist(), test.targets.tolist(), strict=True))
    for pairs in (data.train, data.valid):
        assert any(answer[user] == item for user, item in zip(pairs.users.tolist(), pairs.items.tolist(), strict=True))


def test_a_negative_has_its_positives_history() -> None:
    board = checkerboard(n_users=3)
    data = labelled_of(as_dataset(board), negatives=1, seed=0)
    first = board.train[0]
    for place in range(len(first)):
        for row in (2 * place, 2 * place + 1):
            np.testing.assert_array_equal(data.train.histories[row], first[:place])
    np.testing.assert_array_equal(data.valid.histories[1], first)


def test_negatives_follow_the_seed() -> None:
    dataset = as_dataset(checkerboard())
    one, again, other = (labelled_of(dataset, 1, seed).train.items for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_user_who_met_everything_has_no_negatives() -> None:
    dataset = as_dataset(checkerboard(n_users=2, n_items=6))
    known = Catalogue(dataset.catalogue.items[:2])
    full = Sequences(dataset.full.offsets, item_numbers([0, 1, 0, 1]))
    with pytest.raises(DataError, match="a user has met all 2 items"):
        labelled_of(replace(dataset, catalogue=known, full=full), 1, 0)


@pytest.mark.skipif(not COLLM.exists(), reason="CoLLM's split of ML-1M is not here")
def test_collms_own_split() -> None:
    data = read_labelled(COLLM)
    assert (len(data.train), len(data.valid), len(data.test)) == (33_891, 10_401, 7_331)
    assert (data.n_users, data.n_items) == (838, 3_255)
    shawshank = data.catalogue.items[data.catalogue.number("1") or 0]
    assert shawshank.title == "Shawshank Redemption, The (1994)"
