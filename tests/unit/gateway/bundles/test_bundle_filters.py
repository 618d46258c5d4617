"""Filters against what they say, item by item."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.catalogue import Catalogue, Item
from service.gateway.bundles.attributes import Attributes
from service.gateway.bundles.filters import KEPT_SETS, Filters
from service.gateway.errors import ApiError
from service.gateway.types import AttributeFilter

VALUES = st.sampled_from(["red", "blue", "1", "1.0", "2.5", "-7", "1e3", "nan", ""])
NUMBERS = st.none() | st.sampled_from([-7.0, -6.9, 0.0, 1.0, 2.5, 999.0, 1000.0])
CATALOGUES = st.lists(
    st.builds(
        Item,
        st.just("to be numbered"),
        brand=st.none() | VALUES.filter(bool),
        categories=st.lists(VALUES, max_size=3).map(tuple),
        attributes=st.dictionaries(st.sampled_from(["colour", "size"]), VALUES, max_size=2),
    ),
    max_size=12,
)
FILTERS = st.dictionaries(
    st.sampled_from(["brand", "categories", "colour", "size"]),
    st.builds(
        AttributeFilter,
        any_of=st.none() | st.lists(VALUES, min_size=1, max_size=3).map(tuple),
        none_of=st.lists(VALUES, max_size=2).map(tuple),
        minimum=NUMBERS,
        maximum=NUMBERS,
    ),
    min_size=1,
    max_size=3,
)


def catalogue_of(items: list[Item]) -> Catalogue:
    return Catalogue(
        Item(f"i{number}", brand=item.brand, categories=item.categories, attributes=item.attributes)
        for number, item in enumerate(items)
    )


def filters_of(catalogue: Catalogue) -> Filters:
    return Filters(Attributes(catalogue), len(catalogue))


def values(item: Item, name: str) -> list[str]:
    single = item.brand if name == "brand" else item.attributes.get(name)
    return list(item.categories) if name == "categories" else [single] if single is not None else []


def is_within(value: str, wanted: AttributeFilter) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    above = wanted.minimum is None or number >= wanted.minimum
    below = wanted.maximum is None or number <= wanted.maximum
    return not math.isnan(number) and above and below


def literally_passes(item: Item, name: str, wanted: AttributeFilter) -> bool:
    own = values(item, name)
    if wanted.any_of is not None and not any(value in wanted.any_of for value in own):
        return False
    ranged = wanted.minimum is not None or wanted.maximum is not None
    if ranged and not any(is_within(value, wanted) for value in own):
        return False
    return not any(value in wanted.none_of for value in own)


def is_refused(catalogue: Catalogue, name: str, wanted: AttributeFilter) -> bool:
    own = [value for item in catalogue.items for value in values(item, name)]
    ranged = wanted.minimum is not None or wanted.maximum is not None
    return not own or (ranged and not any(is_within(value, AttributeFilter()) for value in own))


@given(items=CATALOGUES, filters=FILTERS)
def test_what_passes_is_what_passes_literally(items: list[Item], filters: Mapping[str, AttributeFilter]):
    catalogue = catalogue_of(items)
    if any(is_refused(catalogue, name, wanted) for name, wanted in filters.items()):
        with pytest.raises(ApiError):
            filters_of(catalogue).passing(filters)
        return
    passing = filters_of(catalogue).passing(filters)
    assert passing is not None
    expected = [all(literally_passes(item, name, w) for name, w in filters.items()) for item in catalogue.items]
    assert passing.mask.tolist() == expected
    assert passing.size == sum(expected)


CATALOGUE = Catalogue(Item(f"i{number}", attributes={"size": str(number), "colour": "red"}) for number in range(100))


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("shape", AttributeFilter(any_of=("round",)), "'shape'; expected one of colour, size"),
        ("brand", AttributeFilter(none_of=("x",)), "'brand'; expected one of colour, size"),
        ("colour", AttributeFilter(minimum=1.0), "number for 'colour'"),
    ],
)
def test_what_cannot_be_asked_of_the_bundle(name: str, wanted: AttributeFilter, message: str):
    with pytest.raises(ApiError, match=message) as caught:
        filters_of(CATALOGUE).passing({"size": AttributeFilter(minimum=1.0), name: wanted})
    assert (caught.value.status, caught.value.code, caught.value.field) == (422, "invalid_filter", f"filters.{name}")


def test_a_value_that_nobody_has_is_no_error():
    passing = filters_of(CATALOGUE).passing({"colour": AttributeFilter(any_of=("green",))})
    assert passing is not None
    assert passing.size == 0


def test_no_filter_forbids_nothing():
    assert filters_of(CATALOGUE).passing({}) is None


def test_recent_filters_are_remembered_in_any_order_and_old_ones_forgotten():
    filters = filters_of(CATALOGUE)
    low, red = AttributeFilter(maximum=5.0), AttributeFilter(any_of=("red",))
    first = filters.passing({"size": low, "colour": red})
    assert filters.passing({"colour": red, "size": low}) is first
    for number in range(KEPT_SETS):
        filters.passing({"size": AttributeFilter(maximum=float(number))})
    assert filters.passing({"size": low, "colour": red}) is not first
