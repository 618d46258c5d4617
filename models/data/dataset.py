"""A prepared data set: users, catalogue, and every user's interactions in order, labelled train, valid or test.

On disk::

    items.jsonl            the catalogue
    users.parquet          user ids, in the order of their rows
    interactions.parquet   user row, item number, timestamp, label, target; by user, oldest first
    dataset.json           schema version and the longest history that an example may have
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.contract.catalogue import Catalogue, Item
from models.contract.errors import DataError
from models.contract.redis_schema import item_hash
from models.data.columns import (
    ATTRIBUTE,
    BRAND,
    CATEGORIES,
    ITEM,
    ITEM_NUMBER,
    LABEL,
    TARGET,
    TIMESTAMP,
    TITLE,
    USER,
    USER_NUMBER,
)
from models.data.splits import TEST, TRAIN, VALID
from models.types import Examples, Sequences

SCHEMA_VERSION = 1
_LABELS = {"valid": VALID, "test": TEST}


@dataclass(frozen=True)
class Dataset:
    """Users, items and interactions, ready for training and evaluation.

    Args:
        user_ids: sorted; a user's row is the place here.
        catalogue: every item that occurs in an interaction of any split, and no other: an item that nobody touched
            cannot be learned or evaluated. Numbers follow :func:`item_order`.
        full: one sequence per user, oldest first, everything known: what is published to production.
        full_timestamps: (n_interactions,) int64 aligned with ``full.items``, seconds since 1970, 0 where unknown.
        labels: (n_interactions,) int8 aligned with ``full.items``: TRAIN, VALID or TEST.
        targets: (n_interactions,) bool aligned with ``full.items``: the target of an evaluation example.
        max_history: an example's history is cut to its last so many items (a split by windows), None keeps all.
    """

    user_ids: tuple[str, ...]
    catalogue: Catalogue
    full: Sequences
    full_timestamps: NDArray[np.int64]
    labels: NDArray[np.int8]
    targets: NDArray[np.bool_]
    max_history: int | None = None

    @cached_property
    def train(self) -> Sequences:
        """The train part of every user's sequence, in ``user_ids`` order, oldest first; may be empty for some."""
        return self._part(self.labels == TRAIN)

    @cached_property
    def before_test(self) -> Sequences:
        """The same of train and validation: all that may be known where something is chosen."""
        return self._part(self.labels != TEST)

    @cached_property
    def train_timestamps(self) -> NDArray[np.int64]:
        """(n_train,) int64 aligned with ``train.items``, 0 where unknown."""
        return np.asarray(self.full_timestamps[self.labels == TRAIN])

    def examples(self, split: Literal["valid", "test"]) -> Examples:
        """One example per target of a split. A test history includes the valid items that came before."""
        rows = np.flatnonzero(self.targets & (self.labels == _LABELS[split])).astype(np.int64)
        users = np.searchsorted(self.full.offsets, rows, side="right").astype(np.int64) - 1
        starts = self.full.offsets[users]
        if self.max_history is not None:
            starts = np.maximum(starts, rows - self.max_history)
        return Examples(users, ranges(self.full, starts, rows), self.full.items[rows])

    def _part(self, kept: NDArray[np.bool_]) -> Sequences:
        before = np.concatenate([[0], np.cumsum(kept)])
        return Sequences(before[self.full.offsets].astype(np.int64), self.full.items[kept])

    def save(self, directory: Path) -> None:
        """Write the data set into an existing directory."""
        self.catalogue.save(directory / "items.jsonl")
        pl.DataFrame({USER: self.user_ids}, schema={USER: pl.String}).write_parquet(directory / "users.parquet")
        self._interactions().write_parquet(directory / "interactions.parquet")
        document = {"schema_version": SCHEMA_VERSION, "max_history": self.max_history}
        (directory / "dataset.json").write_text(json.dumps(document, indent=2) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a saved data set. Raises DataError where it is incomplete or of another schema."""
        try:
            document = json.loads((directory / "dataset.json").read_bytes())
            users = pl.read_parquet(directory / "users.parquet")
            interactions = pl.read_parquet(directory / "interactions.parquet")
        except (OSError, ValueError, pl.exceptions.PolarsError) as exc:
            raise DataError(f"{directory}: not a prepared data set: {exc}") from exc
        if document.get("schema_version") != SCHEMA_VERSION:
            raise DataError(f"{directory}: schema_version is not {SCHEMA_VERSION}: prepare the data set again")
        catalogue = Catalogue.load(directory / "items.jsonl")
        return cls._of(tuple(users[USER]), catalogue, interactions, document["max_history"])

    @classmethod
    def build(cls, labelled: pl.DataFrame, items: pl.DataFrame, max_history: int | None = None) -> Self:
        """From interactions that a split has labelled (by user, oldest first) and the items table."""
        users = labelled.select(pl.col(USER).unique(maintain_order=True)).with_row_index(USER_NUMBER)
        catalogue = _catalogue(item_order(labelled[ITEM].unique()), items)
        numbers = pl.DataFrame({ITEM: catalogue.ids}, schema={ITEM: pl.String}).with_row_index(ITEM_NUMBER)
        interactions = labelled.join(users, on=USER, how="left", maintain_order="left").join(
            numbers, on=ITEM, how="left", maintain_order="left"
        )
        return cls._of(tuple(users[USER]), catalogue, interactions, max_history)

    @classmethod
    def _of(
        cls, user_ids: tuple[str, ...], catalogue: Catalogue, interactions: pl.DataFrame, max_history: int | None
    ) -> Self:
        counts = np.bincount(interactions[USER_NUMBER].to_numpy(), minlength=len(user_ids))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(
            user_ids,
            catalogue,
            Sequences(offsets, interactions[ITEM_NUMBER].to_numpy().astype(np.int32)),
            interactions[TIMESTAMP].fill_null(0).to_numpy(),
            interactions[LABEL].to_numpy(),
            interactions[TARGET].to_numpy(),
            max_history,
        )

    def _interactions(self) -> pl.DataFrame:
        rows = np.repeat(np.arange(len(self.full), dtype=np.int32), np.diff(self.full.offsets))
        return pl.DataFrame(
            {
                USER_NUMBER: rows,
                ITEM_NUMBER: self.full.items,
                TIMESTAMP: self.full_timestamps,
                LABEL: self.labels,
                TARGET: self.targets,
            }
        )


def item_order(item_ids: Iterable[str]) -> list[str]:
    """Item ids in the order of their numbers: by hash of the id, without a seed.

    Never by first occurrence in the users' sequences, as P5 and POD number items: there neighbouring items of a
    sequence have neighbouring numbers, and a model that sees numbers can read the answer off them. The order of a hash
    says nothing about users, time or popularity, and is the same in every process.
    """
    return sorted(item_ids, key=lambda item_id: (item_hash(item_id), item_id))


def _catalogue(item_ids: list[str], items: pl.DataFrame) -> Catalogue:
    numbered = pl.DataFrame({ITEM: item_ids}, schema={ITEM: pl.String})
    described = numbered.join(items, on=ITEM, how="left", maintain_order="left")
    return Catalogue(_item(row) for row in described.iter_rows(named=True))


def _item(row: dict[str, object]) -> Item:
    attributes = {k.removeprefix(ATTRIBUTE): str(v) for k, v in row.items() if k.startswith(ATTRIBUTE) and v}
    title, brand, categories = row[TITLE], row[BRAND], row[CATEGORIES]
    return Item(
        item_id=str(row[ITEM]),
        title=str(title) if title else None,
        brand=str(brand) if brand else None,
        categories=tuple(categories) if isinstance(categories, list) else (),
        attributes=attributes,
    )


def ranges(sequences: Sequences, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Sequences:
    """``items[start:end]`` for each pair of places in ``sequences.items``, as one Sequences, without a Python loop."""
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return Sequences(offsets, sequences.items[places])
