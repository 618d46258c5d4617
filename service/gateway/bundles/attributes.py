"""What the items of a catalogue are like, by attribute: columns in which the items of a value lie together."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Self

import numpy as np

from models.contract.catalogue import Catalogue, Item
from models.contract.types import Array, Ints, item_numbers

TITLE = "title"


class Column:
    """One attribute of all items.

    Values that read as numbers come first, by their number; so those within a range lie together, too.

    Args:
        numbers: (n_numbers,) float64, the first values as numbers, ascending.
        codes: place of each value in that order.
        starts: (n_values + 1,) where each value's items begin.
        items: (n_pairs,) item numbers, value by value. An item of several values is there several times.
    """

    def __init__(self, numbers: Array, codes: Mapping[str, int], starts: Array, items: Ints) -> None:
        self._numbers = numbers
        self._codes = codes
        self._starts = starts
        self._items = items

    @classmethod
    def of(cls, values: Iterable[str], items: Ints) -> Self:
        """The column in which item ``items[i]`` has the i-th value."""
        first_seen: dict[str, int] = {}
        codes = np.fromiter((first_seen.setdefault(value, len(first_seen)) for value in values), np.int64, len(items))
        numbers = np.asarray([as_number(value) for value in first_seen], np.float64)  # NaN where it is none
        order = np.argsort(numbers, kind="stable")  # NaN last
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        at = places[codes]
        return cls(
            numbers[order][: np.count_nonzero(~np.isnan(numbers))],
            dict(zip(first_seen, places.tolist(), strict=True)),
            np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(order)))]),
            items[np.argsort(at, kind="stable")],
        )

    @property
    def has_numbers(self) -> bool:
        """Whether any value reads as a number."""
        return len(self._numbers) > 0

    def having(self, values: Iterable[str]) -> Ints:
        """Numbers of the items that have any of these values, some perhaps twice."""
        codes = [self._codes[value] for value in set(values) if value in self._codes]
        parts = [self._items[self._starts[code] : self._starts[code + 1]] for code in codes]
        return np.concatenate(parts) if parts else item_numbers([])

    def within(self, minimum: float, maximum: float) -> Ints:
        """Numbers of the items that have a number from ``minimum`` to ``maximum``, some perhaps twice."""
        first = np.searchsorted(self._numbers, minimum, "left")
        end = np.searchsorted(self._numbers, maximum, "right")
        return self._items[self._starts[first] : self._starts[end]]


class Attributes:
    """The columns of a catalogue, each built at its first use."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._items = catalogue.items
        self._columns: dict[str, Column] = {}
        self.names = tuple(sorted(_names(self._items)))

    def column(self, name: str) -> Column:
        """The column of one of ``names``."""
        if name not in self._columns:  # two threads would build the same
            by_item = [values_of(item, name) for item in self._items]
            items = np.repeat(np.arange(len(by_item), dtype=np.int32), [len(values) for values in by_item])
            self._columns[name] = Column.of(chain.from_iterable(by_item), items)
        return self._columns[name]

    def warm(self) -> None:
        """Build now what requests are likely to ask for: all but the column of titles, which is as long as they are."""
        for name in self.names:
            if name != TITLE:
                self.column(name)


def values_of(item: Item, name: str) -> tuple[str, ...]:
    """The values that an item has of an attribute, mostly one or none."""
    if name == "categories" and item.categories:
        return item.categories
    own = item.brand if name == "brand" else item.title if name == TITLE else None
    value = own or item.attributes.get(name)
    return () if value is None else (value,)


def as_number(value: str) -> float:
    """A text as a finite number; NaN where it is none."""
    try:
        number = float(value)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _names(items: Sequence[Item]) -> set[str]:
    names: set[str] = set()
    for item in items:
        names.update(item.attributes)
    return names | {name for name in (TITLE, "brand", "categories") if any(values_of(item, name) for item in items)}
