"""Which items of a bundle pass a request's filters."""

from collections.abc import Mapping
from functools import lru_cache, partial
from math import inf

import numpy as np

from models.contract.types import Array
from service.gateway.bundles.attributes import Attributes, Column
from service.gateway.bundles.item_set import ItemSet
from service.gateway.errors import ApiError
from service.gateway.types import AttributeFilter

KEPT_SETS = 64  # of recent filters; each takes a byte an item
NAMED_ATTRIBUTES = 20
_Key = tuple[tuple[str, AttributeFilter], ...]


class Filters:
    """Evaluates filters on one catalogue, and remembers recent ones.

    Args:
        attributes: of the catalogue.
        n_items: its size.
    """

    def __init__(self, attributes: Attributes, n_items: int) -> None:
        self._recent = lru_cache(KEPT_SETS)(partial(_evaluate, attributes, n_items))

    def passing(self, filters: Mapping[str, AttributeFilter]) -> ItemSet | None:
        """The items that pass all filters; None where there is no filter.

        Raises ApiError (422) on an attribute that no item has, and on a range of one that is no number anywhere.
        """
        return self._recent(tuple(sorted(filters.items(), key=lambda pair: pair[0]))) if filters else None


def _evaluate(attributes: Attributes, n_items: int, filters: _Key) -> ItemSet:
    mask = np.ones(n_items, bool)
    for name, wanted in filters:
        mask &= passes(wanted, _column(attributes, name, wanted), n_items)
    return ItemSet(mask)


def _column(attributes: Attributes, name: str, wanted: AttributeFilter) -> Column:
    if name not in attributes.names:
        named = ", ".join(attributes.names[:NAMED_ATTRIBUTES]) or "(none)"
        raise _refusal(name, f"No item has the attribute {name!r}; expected one of {named}")
    column = attributes.column(name)
    if _has_range(wanted) and not column.has_numbers:
        raise _refusal(name, f"No item has a number for {name!r}: min and max cannot be asked of it")
    return column


def passes(wanted: AttributeFilter, column: Column, n_items: int) -> Array:
    """(n_items,) bool, which items pass one filter. An item without the attribute passes ``none_of`` alone."""
    mask = np.ones(n_items, bool)
    if wanted.any_of is not None:
        mask = _marked(column.having(wanted.any_of), n_items)
    if _has_range(wanted):
        low = -inf if wanted.minimum is None else wanted.minimum
        high = inf if wanted.maximum is None else wanted.maximum
        mask &= _marked(column.within(low, high), n_items)
    mask[column.having(wanted.none_of)] = False
    return mask


def _has_range(wanted: AttributeFilter) -> bool:
    return wanted.minimum is not None or wanted.maximum is not None


def _marked(items: Array, n_items: int) -> Array:
    mask = np.zeros(n_items, bool)
    mask[items] = True
    return mask


def _refusal(name: str, message: str) -> ApiError:
    return ApiError(422, "invalid_filter", message, f"filters.{name}")
