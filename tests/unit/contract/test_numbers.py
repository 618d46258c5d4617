import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.contract.numbers import among, distinct
from models.contract.types import item_numbers

NUMBERS = st.lists(st.integers(0, 40), max_size=20)


@given(items=NUMBERS, others=NUMBERS)
def test_says_what_isin_says(items: list[int], others: list[int]) -> None:
    found = among(item_numbers(items), item_numbers(others))
    assert found.dtype == bool
    assert found.tolist() == np.isin(item_numbers(items), item_numbers(others)).tolist()


@given(items=NUMBERS)
def test_each_item_is_there_once_where_it_came_first(items: list[int]) -> None:
    assert distinct(item_numbers(items)).tolist() == list(dict.fromkeys(items))
