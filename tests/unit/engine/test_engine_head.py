"""The output head: narrow products where they are exact, and the best tokens, all of them."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from models.contract.types import Floats, Ints, item_numbers
from service.engine.head import Head, HeadParts, head_parts, rank, top_k

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Asked:
    """What a query wants of the head."""

    n_best: int
    biased_tokens: Ints = field(default_factory=lambda: np.empty(0, np.int32))
    biases: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    allowed: Ints | None = None


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def logits(parts: HeadParts, states: torch.Tensor) -> torch.Tensor:
    head = Head.of(parts, 300)
    return head.logits(head.narrow(states))


@pytest.mark.parametrize("width", [1, 50, 97, 1000, 12_001])
@pytest.mark.parametrize("k", [1, 10, 100, 1000])
def test_top_k_misses_nothing(width: int, k: int) -> None:
    logits, k = random(5, width), min(k, width)
    values, columns = top_k(logits, k)
    expected = torch.topk(logits, k, dim=1)
    assert torch.equal(values, expected.values)
    assert torch.equal(columns, expected.indices)


def test_top_k_among_equals_and_excluded() -> None:
    logits = torch.full((2, 5000), -torch.inf)
    logits[0, ::7] = 1.0
    logits[1, 4990:] = torch.arange(10.0)
    values, columns = top_k(logits, 20)
    assert (values[0] == 1.0).all()
    assert (columns[0] % 7 == 0).all()
    assert len(set(columns[0].tolist())) == 20
    assert columns[1, :10].tolist() == list(range(4999, 4989, -1))


def test_product_of_narrow_parts_is_found() -> None:
    weight = random(300, 8) @ random(8, 64, seed=1)
    parts = head_parts(weight)
    assert parts.projection is not None
    assert parts.projection.shape == (8, 64)
    states = random(5, 64, seed=2)
    torch.testing.assert_close(logits(parts, states), states @ weight.T, atol=1e-4, rtol=1e-5)


def test_narrow_but_for_rounding_is_narrow_and_nearly_narrow_is_not() -> None:
    narrow = random(300, 8) @ random(8, 64, seed=1)
    assert head_parts(narrow + 1e-8 * random(300, 64, seed=3)).projection is not None
    nearly = narrow.clone()
    nearly[17] += 1e-3 * random(64, seed=3)  # one token that differs
    states = random(5, 64, seed=2)
    torch.testing.assert_close(logits(head_parts(nearly), states), states @ nearly.T, atol=1e-4, rtol=1e-5)
    assert head_parts(random(300, 64)).projection is None


def test_empty_head_is_no_product() -> None:
    parts = head_parts(torch.zeros(300, 64))
    assert parts.rows is None
    assert (logits(parts, random(2, 64)) == torch.zeros(2, 300)).all()


def test_excluded_tokens_have_no_probability() -> None:
    logits = random(2, 50)
    excluded = item_numbers(range(0, 50, 2))
    minus = np.full(25, -np.inf, np.float32)
    kept, all_of_it = rank(logits.clone(), [Asked(50, excluded, minus), Asked(50)])
    left = np.setdiff1d(np.arange(50), excluded)
    expected = torch.log_softmax(logits[0, left], dim=0).numpy()
    assert kept.items.tolist() == left[np.argsort(-expected)].tolist()
    np.testing.assert_allclose(np.sort(expected)[::-1], kept.scores, atol=1e-5)
    assert len(all_of_it) == 50


def test_what_is_allowed_is_the_full_ranking_restricted_to_it() -> None:
    """In one batch with queries that exclude, that allow other tokens, and that do neither."""
    given = random(4, 5000)
    allowed, other = item_numbers(range(0, 5000, 7)), item_numbers([4999, 3, 8, 3])
    excluded, minus = item_numbers(range(0, 5000, 2)), np.full(2500, -np.inf, np.float32)
    asked = [Asked(5000, allowed=allowed), Asked(5000, excluded, minus), Asked(5000, allowed=other), Asked(5000)]
    ranked = rank(given.clone(), asked)
    for row, kept in enumerate([allowed, np.arange(1, 5000, 2), np.unique(other), np.arange(5000)]):
        expected = torch.log_softmax(given[row, kept], dim=0).numpy()
        order = np.argsort(-expected)
        assert ranked[row].items.tolist() == np.asarray(kept)[order].tolist()
        np.testing.assert_allclose(ranked[row].scores, expected[order], atol=1e-5)


def test_what_is_allowed_and_excluded_is_not_ranked() -> None:
    query = Asked(5, item_numbers([1]), np.full(1, -np.inf, np.float32), item_numbers([1, 2]))
    assert rank(random(1, 50), [query])[0].items.tolist() == [2]


def test_nothing_left_to_rank() -> None:
    everything = item_numbers(range(50))
    ranking = rank(random(1, 50), [Asked(10, everything, np.full(50, -np.inf, np.float32))])[0]
    assert len(ranking) == 0
