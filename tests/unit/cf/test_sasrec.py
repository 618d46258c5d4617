"""The sequential baseline."""

import numpy as np
import pytest
import torch
from support.checkerboard import checkerboard, share_of_right_colour

from models.cf.sasrec import SASRec, SASRecConfig, train_sasrec
from models.cf.windows import NextItemScorer
from models.contract.errors import ConfigError
from models.contract.types import item_numbers
from models.evaluation.metrics import mean_ndcg
from models.types import Examples, Sequences, by_history

SMALL = SASRecConfig(
    embedding_size=16,
    layers=1,
    heads=2,
    history_length=10,
    dropout=0.1,
    learning_rate=0.02,
    batch_size=10,
    epochs=25,
    patience=25,
)


def short(seed: int) -> SASRecConfig:
    return SASRecConfig(embedding_size=8, layers=1, history_length=6, batch_size=20, epochs=2, seed=seed)


@pytest.fixture
def scorer() -> NextItemScorer:
    """Untrained, nine items, windows of four."""
    torch.manual_seed(0)
    network = SASRec(9, SASRecConfig(embedding_size=8, heads=2, history_length=4))
    return NextItemScorer(network.eval())


def test_finds_the_colour() -> None:
    board = checkerboard()
    scorer = train_sasrec(board.train, board.valid, board.n_items, SMALL)
    assert share_of_right_colour(scorer, board) == 1.0


def test_learns_what_follows_what() -> None:
    """A cycle over six items: only the order tells the next one, so bags of items cannot."""
    cycles = [np.roll(np.arange(6), -start)[:4].astype(np.int32) for start in range(6) for _ in range(4)]
    train = Sequences.of(cycles)
    targets = np.asarray([(cycle[-1] + 1) % 6 for cycle in cycles], np.int32)
    valid = Examples(np.arange(len(cycles)), train, targets)
    scorer = train_sasrec(train, valid, 6, SMALL)
    assert mean_ndcg(by_history(scorer), valid, n=1) == 1.0


def test_state_does_not_see_what_comes_later(scorer: NextItemScorer) -> None:
    with torch.no_grad():
        states = scorer.network(torch.tensor([[9, 1, 2, 3], [9, 1, 5, 9]]))
    torch.testing.assert_close(states[0, :2], states[1, :2])
    assert not torch.allclose(states[0, 2], states[1, 2])


def test_scores_of_a_history_do_not_depend_on_its_neighbours(scorer: NextItemScorer) -> None:
    rows = [item_numbers(row) for row in ([1, 2, 3], [], [4])]
    together = scorer.scores(Sequences.of(rows))
    alone = np.concatenate([scorer.scores(Sequences.of([row])) for row in rows])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_scores_are_the_same_in_batches_of_any_size(scorer: NextItemScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    histories = Sequences.of([item_numbers([row % 9, (row + 1) % 9]) for row in range(7)])
    at_once = scorer.scores(histories)
    monkeypatch.setattr("models.cf.windows.SCORING_BATCH", 3)
    np.testing.assert_allclose(scorer.scores(histories), at_once, rtol=1e-4, atol=1e-5)


def test_newest_items_count(scorer: NextItemScorer) -> None:
    long, other_start, other_end = (item_numbers(row) for row in ([1, 2, 3, 4, 5], [8, 7, 3, 4, 5], [1, 2, 3, 4, 6]))
    scores = scorer.scores(Sequences.of([long, other_start, other_end]))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)
    assert not np.allclose(scores[0], scores[2])


def test_nobody_has_no_scores(scorer: NextItemScorer) -> None:
    assert scorer.scores(Sequences.of([])).shape == (0, 9)


def test_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    board = checkerboard()
    first, again, other = (
        train_sasrec(board.train, board.valid, board.n_items, short(seed)).scores(board.train) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_heads_must_divide_the_embedding_size() -> None:
    board = checkerboard()
    with pytest.raises(ConfigError, match="heads: 3 does not divide embedding_size 8"):
        train_sasrec(board.train, board.valid, board.n_items, SASRecConfig(embedding_size=8, heads=3))
