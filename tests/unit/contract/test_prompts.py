"""The prompt of the item-token form."""

import numpy as np
import pytest

from models.contract.prompts import item_prompt, start_token
from models.contract.types import item_numbers


def test_the_start_token_is_no_item() -> None:
    assert start_token(100) == 100


@pytest.mark.parametrize(
    ("history_length", "expected"), [(0, []), (1, [9]), (2, [7, 9]), (3, [5, 7, 9]), (50, [5, 7, 9])]
)
def test_the_newest_items_oldest_first_after_the_start(history_length: int, expected: list[int]) -> None:
    for history in ([5, 7, 9], (5, 7, 9), item_numbers([5, 7, 9])):
        assert item_prompt(history, 100, history_length) == [100, *expected]


def test_an_empty_history_has_a_prompt_too() -> None:
    assert item_prompt([], 100, 50) == [100]


def test_token_ids_are_plain_numbers_so_that_json_can_hold_them() -> None:
    assert {type(token) for token in item_prompt(np.arange(3, dtype=np.int32), 100, 50)} == {int}
