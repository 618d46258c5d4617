"""The baselines that read sequences: what holds for each of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from support.checkerboard import checkerboard, share_of_right_colour

from models.cf.gru4rec import GRU4Rec, GRU4RecConfig, train_gru4rec
from models.cf.sasrec import SASRec, SASRecConfig, train_sasrec
from models.cf.windows import NextItemNetwork, NextItemScorer
from models.contract.types import item_numbers
from models.evaluation.metrics import mean_ndcg
from models.types import Examples, Sequences, by_history


@dataclass(frozen=True)
class Baseline:
    """A network, how it is trained, and settings: those that learn small tasks, and those that take two epochs."""

    train: Callable[..., NextItemScorer]
    small: Any
    short: Any
    untrained: Callable[[], NextItemNetwork]


GRU4REC = Baseline(
    train=train_gru4rec,
    small=GRU4RecConfig(
        embedding_size=16, history_length=10, dropout=0.1, learning_rate=0.02, batch_size=10, epochs=25, patience=25
    ),
    short=GRU4RecConfig(embedding_size=8, layers=2, history_length=6, batch_size=20, epochs=2),
    untrained=lambda: GRU4Rec(9, GRU4RecConfig(embedding_size=8, layers=2, history_length=4)),
)
SASREC = Baseline(
    train=train_sasrec,
    small=SASRecConfig(
        embedding_size=16,
        layers=1,
        heads=2,
        history_length=10,
        dropout=0.1,
        learning_rate=0.02,
        batch_size=10,
        epochs=25,
        patience=25,
    ),
    short=SASRecConfig(embedding_size=8, layers=1, history_length=6, batch_size=20, epochs=2),
    untrained=lambda: SASRec(9, SASRecConfig(embedding_size=8, heads=2, history_length=4)),
)


@pytest.fixture(params=[GRU4REC, SASREC], ids=["gru4rec", "sasrec"])
def baseline(request: pytest.FixtureRequest) -> Baseline:
    return request.param


@pytest.fixture
def scorer(baseline: Baseline) -> NextItemScorer:
    """Untrained, nine items, windows of four."""
    torch.manual_seed(0)
    return NextItemScorer(baseline.untrained().eval())


def test_finds_the_colour(baseline: Baseline) -> None:
    board = checkerboard()
    scorer = baseline.train(board.train, board.valid, board.n_items, baseline.small)
    assert share_of_right_colour(scorer, board) == 1.0


def test_trains_where_language_models_are_trained(baseline: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device of shapes without numbers, so that nothing can be learned there."""
    monkeypatch.setattr("models.cf.windows.training_device", lambda: torch.device("meta"))
    monkeypatch.setattr("models.cf.windows.fit", lambda *_, **__: 0.0)
    board = checkerboard()
    network = baseline.train(board.train, board.valid, board.n_items, baseline.short).network
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert network(torch.zeros(2, 4, dtype=torch.int64, device="meta")).device.type == "meta"


@pytest.mark.gpu
def test_finds_the_colour_on_a_gpu(baseline: Baseline) -> None:
    board = checkerboard()
    scorer = baseline.train(board.train, board.valid, board.n_items, baseline.small)
    assert next(scorer.network.parameters()).is_cuda
    assert share_of_right_colour(scorer, board) == 1.0


def test_learns_what_follows_what(baseline: Baseline) -> None:
    """A cycle over six items: only the order tells the next one, so bags of items cannot."""
    cycles = [np.roll(np.arange(6), -start)[:4].astype(np.int32) for start in range(6) for _ in range(4)]
    train = Sequences.of(cycles)
    targets = np.asarray([(cycle[-1] + 1) % 6 for cycle in cycles], np.int32)
    valid = Examples(np.arange(len(cycles)), train, targets)
    scorer = baseline.train(train, valid, 6, baseline.small)
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


def test_the_order_and_the_newest_items_count(scorer: NextItemScorer) -> None:
    rows = ([1, 2, 3, 4, 5], [8, 7, 3, 4, 5], [1, 2, 4, 3, 5], [1, 2, 3, 4, 6])
    scores = scorer.scores(Sequences.of([item_numbers(row) for row in rows]))
    long, other_start, other_order, other_end = scores
    np.testing.assert_allclose(long, other_start, rtol=1e-5)
    assert not np.allclose(long, other_order)
    assert not np.allclose(long, other_end)


def test_nobody_has_no_scores(scorer: NextItemScorer) -> None:
    assert scorer.scores(Sequences.of([])).shape == (0, 9)


def test_same_seed_gives_the_same_model_and_another_seed_another(baseline: Baseline) -> None:
    board = checkerboard()
    first, again, other = (
        baseline.train(board.train, board.valid, board.n_items, replace(baseline.short, seed=seed)).scores(board.train)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
