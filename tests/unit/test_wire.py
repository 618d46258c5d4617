import numpy as np
import pytest

from models.contract.types import RankedList, item_numbers
from service.wire import Encoding, FanoutResult, decode_ranking, encode_ranking

RANKING = RankedList(item_numbers([7, 3, 2**31 - 1]), np.asarray([-0.5, -1.25, -3.0], np.float32))


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_ranking_comes_back_as_it_was(encoding: Encoding):
    result = encode_ranking("b-c00", RANKING, encoding)
    decoded = decode_ranking(result)
    assert (result.model, result.error) == ("b-c00", None)
    np.testing.assert_array_equal(decoded.items, RANKING.items)
    np.testing.assert_array_equal(decoded.scores, RANKING.scores)
    assert (decoded.items.dtype, decoded.scores.dtype) == (np.int32, np.float32)


def test_a_hundred_items_take_a_few_hundred_bytes():
    result = encode_ranking("m", RankedList(item_numbers(range(100)), np.zeros(100, np.float32)), "base64")
    assert len(result.tokens) + len(result.logprobs) < 1_100


@pytest.mark.parametrize(
    ("tokens", "logprobs"),
    [
        ([1, 2], [0.5]),
        ("AAAA", "AAAAAA=="),  # three bytes, four bytes
        ("not base64!", ""),
        ([2**40], [0.5]),
    ],
)
def test_what_is_no_ranking_is_a_value_error(tokens, logprobs):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever numpy and base64 say
        decode_ranking(FanoutResult("m", tokens, logprobs))
