"""The table of baselines."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from support.checkerboard import as_dataset, checkerboard

from models.cf.baselines import BASELINES, TrainingData
from models.cf.training import silent
from models.config import make
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.run import RunConfig

ROWS = ["popularity", "item-kNN", "EASE", "MF-BPR", "LightGCN", "MultVAE", "GRU4Rec", "SASRec", "SASRec + text"]
QUICK = {"epochs": 1, "embedding_size": 8, "passes": 1}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    assert torch.get_num_threads() == 1


def settings(name: str) -> Any:
    """The defaults of a baseline's section, but for what makes training long."""
    default = getattr(RunConfig("x"), BASELINES[name].section)
    known = {field.name for field in dataclasses.fields(default)}
    return dataclasses.replace(default, **{key: value for key, value in QUICK.items() if key in known})


def trained(name: str, dataset: Dataset) -> Floats:
    """Scores of the validation examples."""
    text = np.random.default_rng(0).normal(size=(len(dataset.catalogue), 4)).astype(np.float32)
    score = BASELINES[name].train(TrainingData(dataset, text), settings(name), silent)
    return score(dataset.examples("valid"))


def test_rows_come_in_the_tables_order() -> None:
    assert list(BASELINES) == ROWS
    assert [baseline.name for baseline in BASELINES.values()] == ROWS


@pytest.mark.parametrize("name", ROWS)
def test_every_baseline_scores_every_item_for_every_example(name: str) -> None:
    board = checkerboard(n_users=12, n_items=10)
    scores = trained(name, as_dataset(board))
    assert scores.shape == (12, 10)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", ROWS)
def test_the_validation_targets_are_not_trained_on(name: str) -> None:
    """Item 9 is everybody's target and in nobody's history: a model that trained on it would put it first."""
    board = checkerboard(n_users=12, n_items=9)
    other = dataclasses.replace(
        board, n_items=10, valid=dataclasses.replace(board.valid, targets=np.full(12, 9, np.int32))
    )
    scores = trained(name, as_dataset(other))
    assert not (scores.argmax(axis=1) == 9).all()


@pytest.mark.parametrize("name", ROWS)
def test_every_value_of_a_search_space_is_allowed(name: str) -> None:
    section = BASELINES[name].section
    config = type(getattr(RunConfig("x"), section))
    spaces = {field.name: field.metadata["search"] for field in dataclasses.fields(config) if field.metadata["search"]}
    assert spaces
    for key, values in spaces.items():
        assert all(getattr(make(config, {key: value}, section), key) == value for value in values)
