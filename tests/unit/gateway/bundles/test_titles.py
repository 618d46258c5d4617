"""Items by words of their titles."""

import pytest

from models.contract.catalogue import Catalogue, Item
from models.contract.types import item_numbers
from service.gateway.bundles.titles import Titles

ITEMS = [
    Item("1", title="Toy Story (1995)"),
    Item("2", title="Story of a Toy"),
    Item("toy", title="Casablanca"),
    Item("story-toy-4"),
    Item("5", title="STRASSE nach Rom"),
]


@pytest.fixture
def titles() -> Titles:
    return Titles(Catalogue(ITEMS), item_numbers([1, 0, 2, 3, 4]))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("toy story", [1, 0, 3]),
        ("  STORY   toy ", [1, 0, 3]),
        ("toy", [2, 1, 0, 3]),  # the item of this id comes first
        ("1995", [0]),
        ("toy (", [0]),
        ("straße", [4]),
        ("toy casablanca", []),
        ("story-toy-4", [3]),
        ("   ", []),
    ],
)
def test_every_word_must_occur_and_case_does_not_matter(titles: Titles, query: str, found: list[int]) -> None:
    assert titles.find(query, 10) == found


def test_no_more_than_wanted(titles: Titles) -> None:
    assert titles.find("toy", 2) == [2, 1]
