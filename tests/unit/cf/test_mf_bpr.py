"""Matrix factorisation with BPR."""

import numpy as np
from support.checkerboard import checkerboard, share_of_users_right

from models.cf.mf_bpr import MFBPRConfig, MFScorer, train_mf_bpr
from models.evaluation.metrics import mean_ndcg
from models.types import Examples, Sequences

SMALL = MFBPRConfig(embedding_size=8, learning_rate=0.1, passes=20, epochs=10, patience=10)


def short(seed: int) -> MFBPRConfig:
    return MFBPRConfig(embedding_size=4, passes=2, epochs=2, seed=seed)


def test_finds_the_colour() -> None:
    board = checkerboard()
    score = train_mf_bpr(board.train, board.valid, board.n_items, SMALL)
    assert share_of_users_right(score, board) == 1.0


def test_scores_are_those_of_the_examples_users() -> None:
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=(5, 2)).astype(np.float32)
    rows = np.asarray([2, 0, 2])
    examples = Examples(rows, Sequences.of([np.empty(0, np.int32)] * 3), np.zeros(3, np.int32))
    np.testing.assert_allclose(MFScorer(users, items)(examples), users[rows] @ items.T)


def test_keeps_the_best_epoch() -> None:
    board = checkerboard()
    seen: list[float] = []
    config = MFBPRConfig(embedding_size=4, learning_rate=0.02, passes=1, epochs=15, patience=15)
    score = train_mf_bpr(board.train, board.valid, board.n_items, config, lambda _, ndcg: seen.append(ndcg))
    assert len(seen) == 15
    assert len(set(seen)) > 1
    assert mean_ndcg(score, board.valid) == max(seen)


def test_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    board = checkerboard()
    first, again, other = (
        train_mf_bpr(board.train, board.valid, board.n_items, short(seed))(board.valid) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_user_without_training_data_has_scores() -> None:
    board = checkerboard(n_users=4)
    train = Sequences.of([*(board.train[row] for row in range(3)), np.empty(0, np.int32)])
    scores = train_mf_bpr(train, board.valid, board.n_items, short(0))(board.valid)
    assert np.isfinite(scores).all()
