"""Item-based nearest neighbours."""

import numpy as np
import pytest
from support.checkerboard import checkerboard, share_of_right_colour

from models.cf import item_knn
from models.cf.item_knn import ItemKNNConfig, train_item_knn
from models.contract.types import Floats, item_numbers
from models.types import Sequences

# Items 0 and 1 share two users, 1 and 2 share one, 3 is met by one user alone; item 4 by nobody.
TRAIN = Sequences.of([item_numbers(row) for row in ([0, 1], [1, 0, 1], [1, 2], [3])])


def similarities(**settings: object) -> Floats:
    return np.asarray(train_item_knn(TRAIN, 5, ItemKNNConfig(**settings)).similarities.toarray())  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize("weighting", ["none", "tf-idf"])
def test_finds_the_colour(weighting: str) -> None:
    board = checkerboard()
    scorer = train_item_knn(board.train, board.n_items, ItemKNNConfig(weighting=weighting))  # type: ignore[arg-type]  # one of two
    assert share_of_right_colour(scorer, board) == 1.0


def test_cosine_with_shrinkage() -> None:
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = 2 / (np.sqrt(2 * 3) + 10)
    expected[1, 2] = expected[2, 1] = 1 / (np.sqrt(3 * 1) + 10)
    np.testing.assert_allclose(similarities(shrinkage=10.0), expected, rtol=1e-6)


def test_without_shrinkage_what_nobody_met_is_like_nothing() -> None:
    found = similarities(shrinkage=0.0)
    assert found[0, 1] == pytest.approx(2 / np.sqrt(6))
    assert not found[4].any()
    assert not found[:, 4].any()


def test_users_of_many_items_count_less_by_tf_idf() -> None:
    """Item 1 meets item 0 in a user of two items, item 2 in a user of four: by cosine they are alike."""
    train = Sequences.of([item_numbers(row) for row in ([0, 1], [1, 2, 3, 4])])
    plain, weighted = (
        train_item_knn(train, 5, ItemKNNConfig(weighting=w, shrinkage=1.0)).similarities.toarray()  # type: ignore[arg-type]  # one of two
        for w in ("none", "tf-idf")
    )
    assert plain[1, 0] == plain[1, 2]
    assert weighted[1, 0] > weighted[1, 2]


def test_only_the_nearest_vote() -> None:
    found = similarities(neighbours=1)
    assert np.flatnonzero(found[1]).tolist() == [0]
    assert np.flatnonzero(found[2]).tolist() == [1]


def test_scores_sum_the_votes_of_distinct_items() -> None:
    scorer = train_item_knn(TRAIN, 5, ItemKNNConfig())
    dense = scorer.similarities.toarray()
    scores = scorer.scores(Sequences.of([item_numbers([0, 2, 0]), item_numbers([])]))
    np.testing.assert_allclose(scores[0], dense[0] + dense[2], rtol=1e-6)
    assert not scores[1].any()
    assert scores.dtype == np.float32


def test_blocks_do_not_change_the_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = similarities(neighbours=2)
    monkeypatch.setattr(item_knn, "ITEMS_AT_ONCE", 2)
    np.testing.assert_allclose(similarities(neighbours=2), at_once)


def test_training_again_gives_the_same() -> None:
    board = checkerboard()
    first, again = (train_item_knn(board.train, board.n_items, ItemKNNConfig(neighbours=3)) for _ in range(2))
    np.testing.assert_array_equal(first.scores(board.train), again.scores(board.train))
