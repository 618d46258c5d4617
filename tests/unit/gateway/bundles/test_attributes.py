"""Columns of a catalogue's attributes."""

import math

import pytest

from models.contract.catalogue import Catalogue, Item
from models.contract.types import item_numbers
from service.gateway.bundles.attributes import Attributes, Column, as_number, values_of

ITEMS = (
    Item("a", title="Ant", brand="x", categories=("p", "q"), attributes={"year": "1999"}),
    Item("b", categories=("q",), attributes={"year": "unknown", "brand": "y"}),
    Item("c", attributes={"colour": ""}),
)


def test_names_are_those_that_any_item_has():
    assert Attributes(Catalogue(ITEMS)).names == ("brand", "categories", "colour", "title", "year")
    assert Attributes(Catalogue([Item("a")])).names == ()
    assert Attributes(Catalogue([])).names == ()


@pytest.mark.parametrize(
    ("name", "value", "having"),
    [
        ("brand", "x", [0]),
        ("brand", "y", [1]),
        ("categories", "q", [0, 1]),
        ("categories", "p", [0]),
        ("title", "Ant", [0]),
        ("year", "unknown", [1]),
        ("colour", "", [2]),
        ("colour", "red", []),
    ],
)
def test_items_by_value(name: str, value: str, having: list[int]):
    attributes = Attributes(Catalogue(ITEMS))
    attributes.warm()
    assert attributes.column(name).having([value, "nobody has this"]).tolist() == having
    assert attributes.column(name) is attributes.column(name)


def test_values_of_an_item():
    assert values_of(ITEMS[0], "categories") == ("p", "q")
    assert values_of(ITEMS[2], "colour") == ("",)
    assert values_of(Item("d", attributes={"categories": "z"}), "categories") == ("z",)
    assert values_of(ITEMS[2], "brand") == ()


def test_a_range_holds_its_bounds_and_reads_numbers_however_they_are_written():
    column = Column.of(["10", "9.5", "1e1", "-3", "nan", "inf", "ten", "9.5"], item_numbers([0, 1, 2, 3, 4, 5, 6, 0]))
    assert column.has_numbers
    assert sorted(column.within(9.5, 10).tolist()) == [0, 0, 1, 2]
    assert column.within(-3, -3).tolist() == [3]
    assert column.within(10.01, 1e308).tolist() == []
    assert sorted(set(column.within(float("-inf"), float("inf")).tolist())) == [0, 1, 2, 3]


def test_a_column_of_words_has_no_numbers():
    column = Column.of(["red", "blue"], item_numbers([0, 1]))
    assert not column.has_numbers
    assert column.within(-1e300, 1e300).tolist() == []


@pytest.mark.parametrize("text", ["", "x", "nan", "-inf", "1,5", "0x10"])
def test_what_is_no_number(text: str):
    assert math.isnan(as_number(text))
