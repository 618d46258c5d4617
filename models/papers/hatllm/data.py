"""What HatLLM is trained and measured on: sequences that windows are cut from, and examples whose histories are short.

The paper's protocol is that of ``models.data.splits.by_window``: windows of 11 items, the last one the target, 8:1:1 by
the target's time. :func:`read_windows` reads data that come as windows already.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.contract.catalogue import Catalogue, Item
from models.contract.errors import DataError
from models.contract.types import Ints
from models.data.columns import ITEM, SPLIT, TIMESTAMP, TITLE, USER
from models.data.dataset import Dataset, item_order
from models.types import Examples, Sequences

ITEMS_OF_WINDOW = "item_ids"
TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class WindowedData:
    """Data to be cut into windows.

    Args:
        catalogue: all items.
        train: sequences of the train part, oldest first.
        train_timestamps: (n_train,) int64 aligned with ``train.items``, seconds since 1970, 0 where unknown.
        valid, test: examples of later times; their histories are cut to a window's.
    """

    catalogue: Catalogue
    train: Sequences
    train_timestamps: NDArray[np.int64]
    valid: Examples
    test: Examples

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """From a prepared data set, whatever its split."""
        valid, test = dataset.examples("valid"), dataset.examples("test")
        return cls(dataset.catalogue, dataset.train, dataset.train_timestamps, valid, test)

    def sampled(self, n_windows: int | None, size: int, n_test: int | None, seed: int) -> Self:
        """With so many of the train part's consecutive windows of ``size`` items, and of the test examples, drawn."""
        test = self.test if n_test is None else self.test.sample(n_test, seed)
        spans = _spans(self.train, size, size)
        if n_windows is None or n_windows >= len(spans):
            return replace(self, test=test)
        rows = np.sort(np.random.default_rng(seed).choice(len(spans), n_windows, replace=False))
        kept = [slice(*spans[row]) for row in rows]
        train = Sequences.of([self.train.items[span] for span in kept])
        times = np.concatenate([self.train_timestamps[span] for span in kept])
        return replace(self, train=train, train_timestamps=times, test=test)

    def part(self, train: NDArray[np.int64], valid: NDArray[np.int64]) -> Self:
        """With some of the train sequences, and of the validation examples, by row."""
        offsets = self.train.offsets
        times = [self.train_timestamps[offsets[row] : offsets[row + 1]] for row in train.tolist()]
        times.append(np.empty(0, np.int64))
        return replace(
            self,
            train=self.train.take(train),
            train_timestamps=np.concatenate(times),
            valid=self.valid.take(valid),
        )


def cut(sequences: Sequences, size: int, *, overlapping: bool) -> list[Ints]:
    """Windows of at most ``size`` items.

    Args:
        sequences: one a user.
        size: of a window.
        overlapping: every item but the first ``size`` - 1 ends a window of its own, as in the paper, and a shorter
            sequence is one window. Otherwise windows follow one another, counted from the end: each item is in one.
    """
    return [sequences.items[start:end] for start, end in _spans(sequences, size, 1 if overlapping else size)]


def owners(sequences: Sequences, size: int, *, overlapping: bool) -> NDArray[np.int64]:
    """Row of the sequence that each window of :func:`cut` is of."""
    starts = [start for start, _ in _spans(sequences, size, 1 if overlapping else size)]
    return np.searchsorted(sequences.offsets, np.asarray(starts, np.int64), side="right").astype(np.int64) - 1


def _spans(sequences: Sequences, size: int, step: int) -> list[tuple[int, int]]:
    """Where windows begin and end in ``sequences.items``."""
    found = []
    for start, end in pairwise(sequences.offsets.tolist()):
        first = min(end - start, size) if step == 1 else 1
        found += [(max(last - size, start), last) for last in range(end, start + max(first, 1) - 1, -step)]
    return found


def read_windows(windows: Path, items: Path, valid_share: float) -> WindowedData:
    """Read explicit windows: the latest ``valid_share`` of the train windows are validation.

    A user's train windows overlap; they are put together again to the sequence that they were cut from.

    Args:
        windows: parquet, a row a window: user, list of items of which the last is the target, timestamp of the target,
            split (``train``, ``test``; others are left out).
        items: parquet with item and title.
        valid_share: of the train windows, by time, between 0 and 1.

    Raises:
        DataError: a file is no such table, or leaves nothing to train on or to measure.
    """
    table, titles = _read(windows, (USER, ITEMS_OF_WINDOW, TIMESTAMP, SPLIT)), _read(items, (ITEM, TITLE))
    catalogue = _catalogue(titles)
    train, test = (table.filter(pl.col(SPLIT) == name).sort(TIMESTAMP, maintain_order=True) for name in (TRAIN, TEST))
    first_valid = round(train.height * (1 - valid_share))
    kept, valid = train[:first_valid], train[first_valid:]
    if not (kept.height and valid.height and test.height):
        raise DataError(f"{windows}: {kept.height} train, {valid.height} valid and {test.height} test windows")
    users = {user: row for row, user in enumerate(sorted(set(table[USER])))}
    sequences, times = _joined(kept, catalogue)
    return WindowedData(
        catalogue, sequences, times, _examples(valid, users, catalogue), _examples(test, users, catalogue)
    )


def join(windows: Sequence[Ints]) -> list[Ints]:
    """Sequences from a user's overlapping windows, oldest first: a window that holds another one's end and one item
    more continues it, any other one begins a sequence of its own.
    """
    sequences: list[list[int]] = []
    for window in (window.tolist() for window in windows):
        going_on = next((s for s in sequences if s[-len(window) + 1 :] == window[:-1]), None)
        if going_on is not None:
            going_on.append(window[-1])
        else:
            sequences.append(window)
    return [np.asarray(sequence, np.int32) for sequence in sequences]


def _joined(windows: pl.DataFrame, catalogue: Catalogue) -> tuple[Sequences, NDArray[np.int64]]:
    """The users' sequences; the time of an item is that of its window, the last one's for those that end none."""
    sequences: list[Ints] = []
    times: list[NDArray[np.int64]] = []
    for rows in windows.partition_by(USER, maintain_order=True):
        found = join([_numbers(ids, catalogue) for ids in rows[ITEMS_OF_WINDOW]])
        sequences += found
        times += [np.full(len(sequence), rows[TIMESTAMP][-1], np.int64) for sequence in found]
    return Sequences.of(sequences), np.concatenate(times)


def _examples(windows: pl.DataFrame, users: dict[str, int], catalogue: Catalogue) -> Examples:
    numbered = [_numbers(ids, catalogue) for ids in windows[ITEMS_OF_WINDOW]]
    return Examples(
        np.asarray([users[user] for user in windows[USER]], np.int64),
        Sequences.of([window[:-1] for window in numbered]),
        np.asarray([window[-1] for window in numbered], np.int32),
    )


def _numbers(item_ids: pl.Series, catalogue: Catalogue) -> Ints:
    numbers = catalogue.numbers(item_ids.cast(pl.String))
    if len(numbers) != len(item_ids) or len(numbers) < 2:
        raise DataError(f"{ITEMS_OF_WINDOW}: {item_ids.to_list()}; expected two or more items that have a title each")
    return numbers


def _catalogue(items: pl.DataFrame) -> Catalogue:
    titles = dict(zip(items[ITEM].cast(pl.String), items[TITLE], strict=True))
    return Catalogue(Item(item_id, titles[item_id]) for item_id in item_order(titles))


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=list(columns))
    except (OSError, pl.exceptions.PolarsError) as exc:
        raise DataError(f"{path}: {exc}; expected a parquet file with {', '.join(columns)}") from exc
