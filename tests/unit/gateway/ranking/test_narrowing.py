"""How workers are told what they may rank."""

from dataclasses import replace

import numpy as np
import pytest

from models.contract.types import item_numbers
from service.gateway.bundles.item_set import ItemSet
from service.gateway.ranking.narrowing import MAX_CANDIDATES, MAX_NAMED_ITEMS, narrowed
from service.workers.completion import Completion

ASKED = Completion(prompt=[100, 1], candidates=30, excluded=item_numbers([1, 2]), n_items=100)


def items(*numbers: int, n_items: int = 100) -> ItemSet:
    mask = np.zeros(n_items, bool)
    mask[list(numbers)] = True
    return ItemSet(mask)


def test_where_all_is_allowed_nothing_changes():
    assert narrowed(ASKED, None) is ASKED


def test_few_allowed_items_are_named_without_the_excluded():
    asked = narrowed(ASKED, items(1, 5, 9))
    assert asked is not None
    assert asked.allowed is not None
    assert asked.allowed.tolist() == [5, 9]
    assert asked.candidates == 2


def test_few_others_are_excluded():
    asked = narrowed(ASKED, items(*range(95)))
    assert asked is not None
    assert asked.allowed is None
    assert asked.excluded.tolist() == [1, 2, *range(95, 100)]
    assert asked.candidates == 30


def test_of_half_the_catalogue_the_allowed_half_is_named():
    asked = narrowed(replace(ASKED, excluded=item_numbers([])), items(*range(50)))
    assert asked is not None
    assert asked.allowed is not None
    assert len(asked.allowed) == 50


@pytest.mark.parametrize("allowed", [(), (1, 2)])
def test_where_nothing_is_left_nobody_is_asked(allowed: tuple[int, ...]):
    assert narrowed(ASKED, items(*allowed)) is None


@pytest.mark.parametrize(
    ("share", "candidates"), [(2, 60), (3, 90), (50, MAX_CANDIDATES)], ids=["a half", "a third", "a fiftieth"]
)
def test_too_many_to_name_and_more_are_asked_for(share: int, candidates: int):
    n_items = 50 * (MAX_NAMED_ITEMS + 50)
    asked = narrowed(replace(ASKED, n_items=n_items), items(*range(0, n_items, share), n_items=n_items))
    assert asked is not None
    assert asked.allowed is None
    assert asked.excluded.tolist() == [1, 2]
    assert candidates <= asked.candidates <= candidates + 1
