"""The items of one bundle: the only place where item ids and item numbers meet."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from models.contract.errors import BundleError
from models.contract.redis_schema import item_hash
from models.contract.types import Array, Ints, ItemId


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of ``items.jsonl``. The row's position is the item's number. Attributes are further texts, by name."""

    item_id: str
    title: str | None = None
    brand: str | None = None
    categories: tuple[str, ...] = ()
    attributes: dict[str, str] = {}


class Catalogue:
    """Items in the order of their numbers, and the way back from id to number."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = tuple(items)
        self.ids = tuple(ItemId(item.item_id) for item in self.items)
        self._numbers: dict[str, int] = {item_id: number for number, item_id in enumerate(self.ids)}
        if len(self._numbers) != len(self.items):
            raise BundleError("items.jsonl: an item id occurs twice")

    def __len__(self) -> int:
        return len(self.items)

    def number(self, item_id: str) -> int | None:
        """The item's number, or None for an item that this bundle does not know."""
        return self._numbers.get(item_id)

    def numbers(self, item_ids: Iterable[str]) -> Ints:
        """Numbers of the known ones among ``item_ids``, in their order."""
        found = map(self._numbers.get, item_ids)
        return np.asarray([number for number in found if number is not None], dtype=np.int32)

    def hashes(self) -> Array:
        """(n_items,) uint64 :func:`models.contract.redis_schema.item_hash` of every item, by number."""
        return np.asarray([item_hash(item_id) for item_id in self.ids], dtype=np.uint64)

    def save(self, path: Path) -> None:
        """Write one JSON line an item."""
        path.write_bytes(msgspec.json.Encoder().encode_lines(self.items))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``items.jsonl``. Raises BundleError on a malformed line."""
        try:
            return cls(msgspec.json.Decoder(Item).decode_lines(path.read_bytes()))
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise BundleError(f"{path}: {exc}") from exc
