"""An item's attributes by name."""

from models.contract.catalogue import Item
from service.gateway.bundles.item_attributes import names_of, values_of

SHOE = Item("1", brand="acme", categories=("shoes", "sale"), attributes={"colour": "red", "size": ""})


def test_names_are_those_that_an_item_has():
    assert names_of([Item("0"), SHOE]) == {"brand", "categories", "colour", "size"}
    assert names_of([Item("0", title="no attribute")]) == set()


def test_absent_values_are_none():
    assert values_of(SHOE, "categories") == ("shoes", "sale")
    assert values_of(SHOE, "brand") == ("acme",)
    assert values_of(SHOE, "colour") == ("red",)
    assert [values_of(SHOE, name) for name in ("size", "material")] == [(), ()]
    assert [values_of(Item("0"), name) for name in ("brand", "categories", "colour")] == [(), (), ()]
