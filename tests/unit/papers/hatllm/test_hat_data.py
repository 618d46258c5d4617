from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backbones import walk_dataset

from models.contract.errors import DataError
from models.contract.types import item_numbers
from models.papers.hatllm.data import WindowedData, cut, join, read_windows
from models.types import Sequences

lengths = st.lists(st.integers(0, 12), max_size=5)


def sequences(of_lengths: list[int]) -> Sequences:
    """Sequences whose items are all different."""
    items = iter(range(sum(of_lengths)))
    return Sequences.of([item_numbers([next(items) for _ in range(n)]) for n in of_lengths])


@given(lengths, st.integers(2, 5))
def test_consecutive_windows_hold_each_item_once(of_lengths: list[int], size: int) -> None:
    windows = cut(sequences(of_lengths), size, overlapping=False)
    assert Counter(int(item) for window in windows for item in window) == Counter(range(sum(of_lengths)))
    assert all(0 < len(window) <= size for window in windows)


@given(lengths, st.integers(2, 5))
def test_overlapping_windows_end_in_each_item_that_has_a_full_history(of_lengths: list[int], size: int) -> None:
    found = sequences(of_lengths)
    windows = cut(found, size, overlapping=True)
    last = [int(item) for row in range(len(found)) for item in found[row][min(size, len(found[row])) - 1 :]]
    assert Counter(int(window[-1]) for window in windows) == Counter(last)


@given(st.integers(1, 12), st.integers(2, 5))
def test_overlapping_windows_are_put_together_again(length: int, size: int) -> None:
    whole = sequences([length])
    windows = cut(whole, size, overlapping=True)[::-1]  # oldest first
    assert [found.tolist() for found in join(windows)] == [whole[0].tolist()]


def test_windows_that_do_not_continue_one_another_stay_apart() -> None:
    windows = [item_numbers([1, 2, 3]), item_numbers([7, 8, 9]), item_numbers([2, 3, 4])]
    assert [found.tolist() for found in join(windows)] == [[1, 2, 3, 4], [7, 8, 9]]


def test_a_sample_is_of_whole_windows_and_keeps_their_times() -> None:
    data = WindowedData.of(walk_dataset())
    sample = data.sampled(7, 3, 5, seed=0)
    windows = {tuple(window.tolist()) for window in cut(data.train, 3, overlapping=False)}
    assert all(tuple(sample.train[row].tolist()) in windows for row in range(7))
    assert len(sample.train_timestamps) == len(sample.train.items)
    assert (len(sample.train), len(sample.test)) == (7, 5)
    assert data.sampled(None, 3, None, seed=0).train is data.train


def write(directory: Path, rows: list[tuple[str, list[int], int, str]]) -> tuple[Path, Path]:
    windows, items = directory / "windows.parquet", directory / "items.parquet"
    names = ["user_id", "item_ids", "timestamp", "split"]
    pl.DataFrame(rows, schema=names, orient="row").write_parquet(windows)
    pl.DataFrame({"item_id": [str(i) for i in range(9)], "title": [f"title {i}" for i in range(9)]}).write_parquet(
        items
    )
    return windows, items


ROWS = [
    ("a", [1, 2, 3], 10, "train"),
    ("b", [4, 5], 11, "train"),
    ("a", [2, 3, 4], 12, "train"),
    ("a", [3, 4, 5], 13, "train"),
    ("b", [4, 5, 6], 20, "test"),
    ("b", [4, 5, 6], 20, "test_5000"),
]


def test_windows_are_read(tmp_path: Path) -> None:
    data = read_windows(*write(tmp_path, ROWS), valid_share=0.25)
    ids = data.catalogue.ids
    read = [[ids[item] for item in data.train[row]] for row in range(len(data.train))]
    assert sorted(read) == [["1", "2", "3", "4"], ["4", "5"]]
    assert [ids[item] for item in data.valid.targets] == ["5"]  # the latest train window
    assert [ids[item] for item in data.valid.histories[0]] == ["3", "4"]
    assert [ids[item] for item in data.test.targets] == ["6"]
    assert np.asarray(data.test.users).tolist() == [1]
    assert data.catalogue.items[int(data.test.targets[0])].title == "title 6"


def test_windows_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 test windows"):
        read_windows(*write(tmp_path, ROWS[:4]), valid_share=0.25)
    with pytest.raises(DataError, match="items that have a title each"):
        read_windows(*write(tmp_path, [("a", [1, 99], 9, "train"), *ROWS]), valid_share=0.25)
    with pytest.raises(DataError, match="expected a parquet file with user_id"):
        read_windows(tmp_path / "items.parquet", tmp_path / "items.parquet", 0.25)
