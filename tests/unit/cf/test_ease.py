"""EASE."""

import numpy as np
import pytest
from support.checkerboard import checkerboard, share_of_right_colour

from models.cf.ease import EASEConfig, train_ease
from models.cf.matrix import interaction_matrix
from models.contract.errors import ConfigError
from models.contract.types import item_numbers
from models.evaluation.metrics import mean_ndcg
from models.types import Examples, Sequences, by_history


def random_data(n_users: int = 30, n_items: int = 12) -> tuple[Sequences, Examples]:
    rng = np.random.default_rng(0)
    train = Sequences.of([rng.permutation(n_items)[:5].astype(np.int32) for _ in range(n_users)])
    targets = np.asarray([np.setdiff1d(np.arange(n_items), train[row])[0] for row in range(n_users)], np.int32)
    return train, Examples(np.arange(n_users), train, targets)


def test_finds_the_colour() -> None:
    board = checkerboard()
    scorer = train_ease(board.train, board.valid, board.n_items, EASEConfig(regs=(30.0,)))
    assert share_of_right_colour(scorer, board) == 1.0


def test_each_column_solves_its_ridge_regression_without_the_item_itself() -> None:
    train, valid = random_data()
    weights = train_ease(train, valid, 12, EASEConfig(regs=(2.0,))).weights
    matrix = interaction_matrix(train, 12).toarray().astype(np.float64)
    for item in range(12):
        others = np.delete(matrix, item, axis=1)
        solution = np.linalg.solve(others.T @ others + 2.0 * np.eye(11), others.T @ matrix[:, item])
        np.testing.assert_allclose(np.delete(weights[:, item], item), solution, atol=1e-5)
        assert weights[item, item] == 0.0


def test_validation_data_choose_the_penalty() -> None:
    train, valid = random_data()
    regs = (0.5, 50.0, 5000.0)
    alone = {reg: mean_ndcg(by_history(train_ease(train, valid, 12, EASEConfig(regs=(reg,)))), valid) for reg in regs}
    chosen = train_ease(train, valid, 12, EASEConfig(regs=regs))
    assert len(set(alone.values())) > 1
    assert alone[chosen.reg] == max(alone.values()) == mean_ndcg(by_history(chosen), valid)


def test_repeated_and_missing_history_are_scored() -> None:
    train, valid = random_data()
    scorer = train_ease(train, valid, 12, EASEConfig(regs=(1.0,)))
    scores = scorer.scores(Sequences.of([item_numbers([3, 4]), item_numbers([4, 3, 3]), item_numbers([])]))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not scores[2].any()
    assert scores.dtype == np.float32


@pytest.mark.parametrize("regs", [(), (10.0, 0.0), (-1.0,)])
def test_penalties_must_be_positive(regs: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"regs: .* expected one or more numbers above 0"):
        EASEConfig(regs=regs)
