"""Steps that are far too large: every trainer stops and says so, instead of keeping what ranks at random."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from implicit.cpu.bpr import BayesianPersonalizedRanking
from support.checkerboard import checkerboard

from models.cf.gru4rec import GRU4RecConfig, train_gru4rec
from models.cf.lightgcn import LightGCNConfig, train_lightgcn
from models.cf.mf_bpr import MFBPRConfig, train_mf_bpr
from models.cf.multvae import MultVAEConfig, train_multvae
from models.cf.sasrec import SASRecConfig, train_sasrec
from models.training.divergence import TrainingError
from models.types import Examples, Sequences

TRAINERS: dict[str, tuple[Callable[..., Any], Any]] = {
    "GRU4Rec": (train_gru4rec, GRU4RecConfig(embedding_size=8, batch_size=64, epochs=9, patience=9)),
    "SASRec": (train_sasrec, SASRecConfig(embedding_size=8, batch_size=64, epochs=9, patience=9)),
    "MultVAE": (train_multvae, MultVAEConfig(embedding_size=8, batch_size=64, epochs=9, patience=9)),
    "LightGCN": (train_lightgcn, LightGCNConfig(embedding_size=8, passes=1, epochs=9, patience=9)),
    "MF-BPR": (train_mf_bpr, MFBPRConfig(embedding_size=8, passes=1, epochs=9, patience=9)),
}


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.filterwarnings("ignore:.*encountered in matmul:RuntimeWarning")
def test_a_trainer_that_diverges_stops_and_names_model_and_epoch(name: str) -> None:
    train, config = TRAINERS[name]
    board, epochs = checkerboard(), []
    with pytest.raises(TrainingError, match=rf"epoch \d of {name}; a smaller learning rate may help") as stopped:
        train(
            board.train,
            board.valid,
            board.n_items,
            replace(config, learning_rate=1e30),
            lambda epoch, _: epochs.append(epoch),
        )
    assert f"epoch {len(epochs) + 1} of {name}" in str(stopped.value)
    assert (stopped.value.batch is None) == (name == "MF-BPR")


def test_factors_that_are_infinite_count_as_diverged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself looks for NaN only."""

    def overflow(model: BayesianPersonalizedRanking, *_: Any, **__: Any) -> None:
        model.user_factors, model.item_factors = np.full((40, 2), np.inf), np.ones((20, 2))

    monkeypatch.setattr(BayesianPersonalizedRanking, "fit", overflow)
    board = checkerboard()
    with pytest.raises(TrainingError, match="factors are not finite after epoch 1 of MF-BPR"):
        train_mf_bpr(board.train, board.valid, board.n_items, MFBPRConfig())


def test_nothing_to_compare_is_no_divergence() -> None:
    """Users who met all items: LightGCN draws no pair to learn from, and the mean of no losses is no number."""
    train = Sequences.of([np.arange(3, dtype=np.int32)] * 2)
    valid = Examples(np.arange(2), train, np.zeros(2, np.int32))
    scorer = train_lightgcn(train, valid, 3, LightGCNConfig(embedding_size=4, passes=1, epochs=2))
    assert np.isfinite(scorer(valid)).all()
