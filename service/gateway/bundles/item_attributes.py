"""An item's attributes by name: ``brand``, ``categories``, and whatever else the catalogue says of it."""

from collections.abc import Iterable

from models.contract.catalogue import Item

BRAND, CATEGORIES = "brand", "categories"


def names_of(items: Iterable[Item]) -> frozenset[str]:
    """The attributes that at least one of the items has."""
    names: set[str] = set()
    for item in items:
        names.update(item.attributes)
        if item.brand:
            names.add(BRAND)
        if item.categories:
            names.add(CATEGORIES)
    return frozenset(names)


def values_of(item: Item, name: str) -> tuple[str, ...]:
    """The values that an item has of an attribute, mostly one or none."""
    if name == CATEGORIES:
        return item.categories
    value = item.brand if name == BRAND else item.attributes.get(name)
    return (value,) if value else ()
