"""The sampled protocol's candidates."""

import numpy as np
import pytest

from models.contract.errors import DataError
from models.contract.types import item_numbers
from models.evaluation.negatives import candidates
from models.types import Examples, Sequences

N_ITEMS = 300


def examples(n: int = 60) -> Examples:
    """Users 5, 6, 7 … with ten items each, the target after them."""
    rng = np.random.default_rng(1)
    items = [rng.permutation(N_ITEMS)[:11].astype(np.int32) for _ in range(n)]
    histories = Sequences.of([row[:10] for row in items])
    return Examples(np.arange(n) + 5, histories, item_numbers([row[10] for row in items]))


def test_a_row_is_the_target_and_different_items_that_its_user_never_met() -> None:
    cases = examples()

    drawn = candidates(cases, N_ITEMS, 99, seed=0)

    assert drawn.shape == (60, 100)
    assert drawn.dtype == np.int32
    for row, items in enumerate(drawn):
        assert len(set(items.tolist())) == 100
        assert cases.targets[row] in items
        assert not set(items.tolist()) & set(cases.histories[row].tolist())
    assert drawn.min() >= 0
    assert drawn.max() < N_ITEMS


def test_an_example_has_the_same_candidates_wherever_it_stands() -> None:
    cases, rows = examples(), np.random.default_rng(2).permutation(60)[:30]

    some = candidates(cases.take(rows), N_ITEMS, 20, seed=0)

    np.testing.assert_array_equal(some, candidates(cases, N_ITEMS, 20, seed=0)[rows])


def test_the_seed_decides() -> None:
    first, again, other = (candidates(examples(), N_ITEMS, 20, seed=seed) for seed in (0, 0, 1))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_users_have_candidates_of_their_own() -> None:
    history = item_numbers([1, 2])
    cases = Examples(np.asarray([0, 1]), Sequences.of([history, history]), item_numbers([3, 3]))

    first, second = candidates(cases, N_ITEMS, 50, seed=0)

    assert set(first.tolist()) != set(second.tolist())


def test_the_place_of_a_target_says_nothing() -> None:
    cases = examples(400)
    places = np.argmax(candidates(cases, N_ITEMS, 9, seed=0) == cases.targets[:, None], axis=1)

    assert np.bincount(places, minlength=10).min() > 20  # 40 expected


def test_every_item_that_is_free_can_be_drawn() -> None:
    history, target = item_numbers([0, 3, 4, 9, 3]), item_numbers([5])
    cases = Examples(np.zeros(1, np.int64), Sequences.of([history]), target)

    assert sorted(candidates(cases, 10, 5, seed=0)[0].tolist()) == [1, 2, 5, 6, 7, 8]


def test_a_users_other_targets_are_no_negatives() -> None:
    cases = Examples(np.asarray([4, 4]), Sequences.of([item_numbers([0]), item_numbers([0, 1])]), item_numbers([1, 2]))

    first, second = candidates(cases, 5, 2, seed=0)

    assert sorted(first.tolist()) == [1, 3, 4]
    assert sorted(second.tolist()) == [2, 3, 4]


def test_a_catalogue_that_is_too_small_is_refused() -> None:
    with pytest.raises(DataError, match="has not met 289 of 300 items; expected at least 290"):
        candidates(examples(), N_ITEMS, 290, seed=0)


def test_no_examples_have_no_candidates() -> None:
    nobody = Examples(np.empty(0, np.int64), Sequences.of([]), np.empty(0, np.int32))
    assert candidates(nobody, 5, 2, seed=0).shape == (0, 3)
