"""Training of labelled pairs: batches, when it stops, what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.labelled import labelled_board

from models.cf.pointwise.mf import MFConfig
from models.cf.pointwise.models import make_model
from models.cf.pointwise.train import pairs_of, predict, train_pointwise
from models.contract.errors import DataError
from models.contract.types import item_numbers
from models.data.labelled import LabelledData, LabelledPairs
from models.evaluation.pointwise import auc
from models.training.divergence import TrainingError
from models.types import Sequences

CONFIG = MFConfig(embedding_size=8, learning_rate=0.02, batch_size=64, epochs=4, patience=2)
N_ITEMS = 9
LABELLED = LabelledPairs(
    np.asarray([0, 0, 3]),
    item_numbers([4, 5, 6]),
    np.asarray([1, 0, 1], np.int8),
    Sequences.of([item_numbers(history) for history in ([], [1, 2, 3], [7])]),
)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    return labelled_board(tmp_path_factory.mktemp("board"))


def test_a_batch_has_the_newest_items_padded_on_the_left() -> None:
    batch = pairs_of(LABELLED, np.asarray([2, 0, 1]), N_ITEMS, 2)
    assert batch.users.tolist() == [3, 0, 0]
    assert batch.items.tolist() == [6, 4, 5]
    assert batch.histories.tolist() == [[9, 7], [9, 9], [2, 3]]
    assert {tensor.dtype for tensor in (batch.users, batch.items, batch.histories)} == {torch.int64}


def test_a_batch_may_have_no_histories() -> None:
    assert pairs_of(LABELLED, np.asarray([1]), N_ITEMS, 0).histories.shape == (1, 0)


def test_histories_that_are_all_empty_are_padding() -> None:
    empty = replace(LABELLED, histories=Sequences.of([item_numbers([])] * 3))
    assert pairs_of(empty, np.arange(3), N_ITEMS, 2).histories.tolist() == [[9, 9]] * 3


def test_the_best_epoch_is_left_and_told(board: LabelledData) -> None:
    told: list[float] = []
    model = make_model(CONFIG, board)
    best = train_pointwise(model, board, CONFIG, lambda _, value: told.append(value))
    assert best == max(told) == auc(predict(model, board.valid, board.n_items), board.valid.labels)
    assert not model.training


def test_test_pairs_are_not_looked_at(board: LabelledData) -> None:
    def trained(data: LabelledData) -> torch.Tensor:
        model = make_model(CONFIG, data)
        train_pointwise(model, data, CONFIG)
        return model.state_dict()["users.weight"]

    other = replace(board, test=replace(board.test, labels=1 - board.test.labels))
    torch.testing.assert_close(trained(board), trained(other), rtol=0, atol=0)


def test_validation_pairs_of_one_label_are_refused(board: LabelledData) -> None:
    liked = replace(board, valid=replace(board.valid, labels=np.ones_like(board.valid.labels)))
    with pytest.raises(DataError, match="validation pairs: all have one label"):
        train_pointwise(make_model(CONFIG, board), liked, CONFIG)


def test_a_loss_that_is_no_number_stops_training(board: LabelledData) -> None:
    model = make_model(CONFIG, board)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="epoch 1 of MF"):
        train_pointwise(model, board, CONFIG)
