"""The baselines of the evaluation table: trained on the train part, stopped on validation, their test lists kept.

What a baseline's stage leaves behind is its ranked lists, not its weights: nobody serves it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.cf.ease import train_ease
from models.cf.multvae import MultVAEScorer
from models.cf.popularity import train_popularity
from models.cf.sasrec import train_sasrec
from models.contract.types import Ints
from models.data.dataset import Dataset
from models.metrics import evaluate_scorer
from models.pipeline import Pipeline, epoch_bar
from models.types import Scorer

QUICK = ("popularity", "MultVAE")  # need no training of their own
ALL = (*QUICK, "EASE", "SASRec")

LISTS = "lists.npy"


def test_lists(pipeline: Pipeline, name: str, n: int) -> Ints:
    """A baseline's lists for the test examples, (n_examples, n), trained where the run does not hold them yet."""
    config, train = _baseline(pipeline, name)
    dataset = pipeline.dataset()

    def work(directory: Path) -> None:
        np.save(directory / LISTS, evaluate_scorer(train(dataset), dataset.examples("test"), n))

    stage = f"baselines/{name.lower()}"
    inputs = {"data": pipeline.directory / "data"} | ({"cf": pipeline.directory / "cf"} if name == "MultVAE" else {})
    pipeline.stage(stage, 1, {"n": n, "config": config}, inputs, work)
    lists: Ints = np.load(pipeline.directory / stage / LISTS, allow_pickle=False)
    return lists


def _baseline(pipeline: Pipeline, name: str) -> tuple[Any, Callable[[Dataset], Scorer]]:
    """A baseline's configuration, and how it is trained on a data set."""
    config = pipeline.config
    baselines: dict[str, tuple[Any, Callable[[Dataset], Scorer]]] = {
        "popularity": (None, lambda data: train_popularity(data.train, len(data.catalogue))),
        "MultVAE": (config.cf, lambda data: MultVAEScorer(pipeline.cf_model())),
        "EASE": (
            config.ease,
            lambda data: train_ease(data.train, data.examples("valid"), len(data.catalogue), config.ease),
        ),
        "SASRec": (config.sasrec, lambda data: _sasrec(data, pipeline)),
    }
    return baselines[name]


def _sasrec(dataset: Dataset, pipeline: Pipeline) -> Scorer:
    config = pipeline.config.sasrec
    with epoch_bar("SASRec", config.epochs) as progress:
        return train_sasrec(dataset.train, dataset.examples("valid"), len(dataset.catalogue), config, progress)
