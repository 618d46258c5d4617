"""Labelled user-item pairs, as CoLLM is trained and measured on them.

A directory of labelled pairs, as CoLLM's own split of ML-1M comes::

    interactions.parquet   user_id, item_id, label (1: liked, 0: not), split (train, valid, test),
                           order (a number; of two rows of a user the earlier one has the smaller)
    items.parquet          item_id, title, categories (separated by "|")
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.contract.catalogue import Catalogue, Item
from models.contract.errors import DataError
from models.contract.types import Ints
from models.data.columns import CATEGORIES, ITEM, LABEL, ORDER, SPLIT, TITLE, USER
from models.data.dataset import Dataset, item_order, ranges
from models.types import Sequences

Split = Literal["train", "valid", "test"]
LONGEST_HISTORY = 50  # items of a pair's history that are kept, the newest

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class LabelledPairs:
    """Pairs of one split, user by user, each user's in the order of time.

    Args:
        users: (n,) int64 rows.
        items: (n,) int32 item numbers.
        labels: (n,) int8, 1 where the user liked the item.
        histories: n sequences: what the user had liked before, oldest first, across splits; the newest
            ``LONGEST_HISTORY``.
    """

    users: Rows
    items: Ints
    labels: NDArray[np.int8]
    histories: Sequences

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Rows) -> "LabelledPairs":
        """Some of the pairs, in that order."""
        return LabelledPairs(self.users[rows], self.items[rows], self.labels[rows], self.histories.take(rows))


@dataclass(frozen=True)
class LabelledData:
    """Users, items, and the pairs of each split; ``user_ids`` and ``catalogue`` say what rows and numbers stand for."""

    user_ids: tuple[str, ...]
    catalogue: Catalogue
    train: LabelledPairs
    valid: LabelledPairs
    test: LabelledPairs

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.catalogue)


def read_labelled(directory: Path) -> LabelledData:
    """Read a directory of labelled pairs, see the module. Users are sorted by id, items are numbered by ``item_order``.

    A pair's history is what its user liked in earlier rows, of whichever split: a test pair's history is what would be
    known when the item is shown.

    Raises:
        DataError: a file or column is missing, a value is empty, a label is not 0 or 1, a split is unknown, has no
            rows or rows of one label only, or an item has no row in ``items.parquet``. The message names file and
            column.
    """
    rows_file, items_file = directory / "interactions.parquet", directory / "items.parquet"
    rows = _read(rows_file, (USER, ITEM, LABEL, SPLIT, ORDER)).with_columns(pl.col(USER, ITEM).cast(pl.String))
    _check_values(rows_file, rows)
    items = _read(items_file, (ITEM, TITLE, CATEGORIES)).with_columns(pl.col(ITEM).cast(pl.String))
    catalogue = _catalogue(items_file, items)
    user_ids = tuple(sorted(rows[USER].unique()))
    rows = rows.sort(USER, ORDER, maintain_order=True)
    numbers = _numbers(rows_file, rows[ITEM], catalogue)
    users = np.searchsorted(np.asarray(user_ids), rows[USER].to_numpy()).astype(np.int64)
    labels = rows[LABEL].cast(pl.Int8).to_numpy()
    everything = LabelledPairs(users, numbers, labels, _liked_before(users, numbers, labels, len(user_ids)))
    parts = [everything.take(np.flatnonzero((rows[SPLIT] == split).to_numpy())) for split in get_args(Split)]
    return LabelledData(user_ids, catalogue, *parts)


def labelled_of(dataset: Dataset, negatives: int, seed: int) -> LabelledData:
    """Pairs of a data set without labels: what a user met is liked, random items that the user never met are not.

    The train pairs are the train interactions, each before its negatives; the pairs of validation and test are the
    targets. The history of a pair, a negative too, is what came before the interaction. A negative may be an item that
    the user meets in a later split: to leave those out would tell the model, or who chooses one, what is held out.

    Args:
        dataset: a run's.
        negatives: items a positive one; the same for the same seed.
        seed: of the drawing.

    Raises:
        DataError: a user has met the whole catalogue.
    """
    n_items = len(dataset.catalogue)
    train, known, full = dataset.train, dataset.before_test, dataset.full
    rng = np.random.default_rng(seed)
    valid, test = dataset.examples("valid"), dataset.examples("test")
    return LabelledData(
        dataset.user_ids,
        dataset.catalogue,
        _with_negatives(_users_of(train), train.items, _all_before(train), _Met(train, n_items), negatives, rng),
        _with_negatives(valid.users, valid.targets, valid.histories, _Met(known, n_items), negatives, rng),
        _with_negatives(test.users, test.targets, test.histories, _Met(full, n_items), negatives, rng),
    )


class _Met:
    """Who met what, to draw from the rest."""

    def __init__(self, sequences: Sequences, n_items: int) -> None:
        self._n_items = n_items
        self._keys = np.unique(_users_of(sequences) * n_items + sequences.items)
        self._counts = np.bincount(self._keys // n_items, minlength=len(sequences))

    def draw(self, users: Rows, rng: np.random.Generator) -> Ints:
        """A random item for each user (n,), none that the user met."""
        if (self._counts[users] >= self._n_items).any():
            raise DataError(f"a user has met all {self._n_items} items; expected some to draw negatives from")
        items = rng.integers(self._n_items, size=len(users))
        while len(again := np.flatnonzero(np.isin(users * self._n_items + items, self._keys))):
            items[again] = rng.integers(self._n_items, size=len(again))
        return items.astype(np.int32)


def _with_negatives(
    users: Rows, items: Ints, histories: Sequences, met: _Met, negatives: int, rng: np.random.Generator
) -> LabelledPairs:
    """Each positive pair, then its negatives, with its history."""
    each = 1 + negatives
    drawn = met.draw(np.repeat(users, negatives), rng).reshape(len(users), negatives)
    labels = np.zeros((len(users), each), np.int8)
    labels[:, 0] = 1
    starts = np.maximum(histories.offsets[:-1], histories.offsets[1:] - LONGEST_HISTORY)
    repeated = ranges(histories, np.repeat(starts, each), np.repeat(histories.offsets[1:], each))
    pairs = np.concatenate([items[:, None], drawn], axis=1).ravel()
    return LabelledPairs(np.repeat(users, each), pairs, labels.ravel(), repeated)


def _users_of(sequences: Sequences) -> Rows:
    """(n_interactions,) each interaction's user row."""
    return np.repeat(np.arange(len(sequences), dtype=np.int64), np.diff(sequences.offsets))


def _all_before(sequences: Sequences) -> Sequences:
    """For each interaction the user's earlier ones."""
    ends = np.arange(len(sequences.items), dtype=np.int64)
    firsts = np.repeat(sequences.offsets[:-1], np.diff(sequences.offsets))
    return ranges(sequences, np.maximum(firsts, ends - LONGEST_HISTORY), ends)


def _liked_before(users: Rows, items: Ints, labels: NDArray[np.int8], n_users: int) -> Sequences:
    """For each pair, by user and time, what the user liked in earlier ones."""
    liked = labels == 1
    counts = np.bincount(users[liked], minlength=n_users)
    sequences = Sequences(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), items[liked])
    ends = (np.cumsum(liked) - liked).astype(np.int64)
    return ranges(sequences, np.maximum(sequences.offsets[users], ends - LONGEST_HISTORY), ends)


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as exc:
        raise DataError(f"{path}: {exc}") from exc
    for column in columns:
        if column not in frame.columns:
            raise DataError(f"{path}: no column {column!r}; got {', '.join(frame.columns)}")
    return frame.select(columns)


def _check_values(path: Path, rows: pl.DataFrame) -> None:
    for column in rows.columns:
        if rows[column].null_count():
            raise DataError(f"{path}: {column}: {rows[column].null_count()} empty values; expected none")
    for column, expected in ((LABEL, (0, 1)), (SPLIT, get_args(Split))):
        for found in rows[column].unique().sort().to_list():
            if found not in expected:
                raise DataError(f"{path}: {column}: {found!r}; expected one of {', '.join(map(str, expected))}")
    for split in get_args(Split):
        if split not in rows[SPLIT]:
            raise DataError(f"{path}: {SPLIT}: no row of {split}")
        if len(labels := rows.filter(pl.col(SPLIT) == split)[LABEL].unique()) < 2:
            raise DataError(f"{path}: {LABEL}: {labels[0]} in all rows of {split}; expected liked ones and others")


def _catalogue(path: Path, items: pl.DataFrame) -> Catalogue:
    described = {row[ITEM]: row for row in items.iter_rows(named=True)}
    if None in described or len(described) < len(items):
        raise DataError(f"{path}: {ITEM}: an id is empty or occurs twice")
    return Catalogue(_item(described[item_id]) for item_id in item_order(described))


def _item(row: dict[str, str | None]) -> Item:
    title, categories = row[TITLE], row[CATEGORIES]
    return Item(str(row[ITEM]), title=title, categories=tuple(categories.split("|")) if categories else ())


def _numbers(path: Path, item_ids: pl.Series, catalogue: Catalogue) -> Ints:
    for item_id in item_ids.unique():
        if catalogue.number(item_id) is None:
            raise DataError(f"{path}: {ITEM}: {item_id!r} has no row in items.parquet")
    return catalogue.numbers(item_ids)
