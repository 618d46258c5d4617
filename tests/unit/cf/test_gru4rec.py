"""The recurrent baseline."""

import numpy as np
import pytest
import torch
from support.checkerboard import checkerboard, share_of_right_colour

from models.cf.gru4rec import GRU4Rec, GRU4RecConfig, train_gru4rec
from models.cf.windows import NextItemScorer
from models.contract.types import item_numbers
from models.evaluation.metrics import mean_ndcg
from models.types import Examples, Sequences, by_history

SMALL = GRU4RecConfig(
    embedding_size=16, history_length=10, dropout=0.1, learning_rate=0.02, batch_size=10, epochs=25, patience=25
)


def short(seed: int) -> GRU4RecConfig:
    return GRU4RecConfig(embedding_size=8, layers=2, history_length=6, batch_size=20, epochs=2, seed=seed)


@pytest.fixture
def scorer() -> NextItemScorer:
    """Untrained, nine items, windows of four."""
    torch.manual_seed(0)
    return NextItemScorer(GRU4Rec(9, GRU4RecConfig(embedding_size=8, layers=2, history_length=4)).eval())


def test_finds_the_colour() -> None:
    board = checkerboard()
    scorer = train_gru4rec(board.train, board.valid, board.n_items, SMALL)
    assert share_of_right_colour(scorer, board) == 1.0


def test_learns_what_follows_what() -> None:
    """A cycle over six items: only the order tells the next one, so bags of items cannot."""
    cycles = [np.roll(np.arange(6), -start)[:4].astype(np.int32) for start in range(6) for _ in range(4)]
    train = Sequences.of(cycles)
    targets = np.asarray([(cycle[-1] + 1) % 6 for cycle in cycles], np.int32)
    valid = Examples(np.arange(len(cycles)), train, targets)
    scorer = train_gru4rec(train, valid, 6, SMALL)
    assert mean_ndcg(by_history(scorer), valid, n=1) == 1.0


def test_scores_of_a_history_do_not_depend_on_its_neighbours(scorer: NextItemScorer) -> None:
    rows = [item_numbers(row) for row in ([1, 2, 3], [], [4])]
    together = scorer.scores(Sequences.of(rows))
    alone = np.concatenate([scorer.scores(Sequences.of([row])) for row in rows])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_the_order_and_the_newest_items_count(scorer: NextItemScorer) -> None:
    rows = ([1, 2, 3, 4, 5], [8, 7, 3, 4, 5], [1, 2, 4, 3, 5])
    scores = scorer.scores(Sequences.of([item_numbers(row) for row in rows]))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)
    assert not np.allclose(scores[0], scores[2])


def test_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    board = checkerboard()
    first, again, other = (
        train_gru4rec(board.train, board.valid, board.n_items, short(seed)).scores(board.train) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
