"""The ranked lists that the evaluation table measures: baselines, the global adapter, the fused local adapters.

What these stages leave in a run is lists for the test examples, not weights: nobody serves a baseline. Baselines are
trained on the train part and stopped on validation.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from models.cf.ease import train_ease
from models.cf.multvae import MultVAEScorer
from models.cf.popularity import PopularityScorer
from models.cf.sasrec import train_sasrec
from models.contract.bundle import MANIFEST, Bundle
from models.contract.fusion import FusionMethod
from models.contract.types import Ints
from models.data.dataset import Dataset
from models.metrics import evaluate_scorer, rank_scores
from models.pipeline import POPULARITY_HALF_LIFE_DAYS, Pipeline, epoch_bar
from models.ranking import FUSIONS, LocalRanker, chunks, open_system, recommend_all
from models.types import Scorer

QUICK = ("popularity", "MultVAE")  # baselines that need no training of their own
GLOBAL = "global adapter"
ALL = (*QUICK, "EASE", "SASRec")

_LISTS = "lists.safetensors"
_FUSION_NAMES = {FusionMethod.COUNT: "Count", FusionMethod.RRF: "RRF", FusionMethod.WRRF_CF: "wRRF(CF)"}


def ranked_lists(pipeline: Pipeline, bundle: Bundle, baselines: Sequence[str], n: int) -> dict[str, Ints]:
    """Lists (n_examples, n) for the test examples by model, in the table's order; made where the run lacks them.

    The local models' lists come out of the bundle: what is measured is what is served.
    """
    lists = {name: _baseline_lists(pipeline, name, n) for name in baselines}
    local = _local_lists(pipeline, bundle, n)
    names = [GLOBAL, *(fused_name(method) for method in FUSIONS)]
    return lists | {name: local[name] for name in names}


def _baseline_lists(pipeline: Pipeline, name: str, n: int) -> Ints:
    config, train = _baseline(pipeline, name)

    def work(directory: Path) -> None:
        dataset = pipeline.dataset()
        lists = evaluate_scorer(train(dataset), dataset.examples("test"), n)
        save_file({name: lists}, directory / _LISTS)

    stage = f"lists/{name.lower()}"
    inputs = {"data": pipeline.directory / "data"} | ({"cf": pipeline.directory / "cf"} if name == "MultVAE" else {})
    pipeline.stage(stage, 1, {"n": n, "config": config}, inputs, work)
    lists: Ints = load_file(pipeline.directory / stage / _LISTS)[name]
    return lists


def _local_lists(pipeline: Pipeline, bundle: Bundle, n: int) -> dict[str, Ints]:
    def work(directory: Path) -> None:
        save_file(_rank_local(pipeline, bundle, n), directory / _LISTS)

    inputs = {"data": pipeline.directory / "data", "serving": pipeline.directory / "serving"}
    pipeline.stage("lists/local", 3, {"n": n}, inputs | {"bundle": bundle.path(MANIFEST)}, work)
    lists: dict[str, Ints] = load_file(pipeline.directory / "lists" / "local" / _LISTS)
    return lists


def _rank_local(pipeline: Pipeline, bundle: Bundle, n: int) -> dict[str, Ints]:
    """Lists of the global adapter, and of the fused local adapters by every method, each with its own best k."""
    test, system = pipeline.dataset().examples("test"), open_system(bundle)
    settings = [pipeline.fusion_settings(method) for method in FUSIONS]
    ranker = LocalRanker(system, pipeline.config.serving.candidates)
    parts: dict[str, list[Ints]] = {}
    for part in chunks(test):
        scores = ranker.global_scores(part.histories)
        parts.setdefault(GLOBAL, []).append(rank_scores(scores, part.histories, n))
        answers = ranker.answers(part.histories)
        for fusion in settings:
            lists = recommend_all(system, answers, fusion, n)
            parts.setdefault(fused_name(fusion.method), []).append(lists)
    return {name: np.concatenate(lists) for name, lists in parts.items()}


def fused_name(method: FusionMethod) -> str:
    """Name of a row of the table."""
    return f"local adapters, {_FUSION_NAMES[method]}"


def _baseline(pipeline: Pipeline, name: str) -> tuple[Any, Callable[[Dataset], Scorer]]:
    """A baseline's configuration, and how it is trained on a data set."""
    config = pipeline.config
    baselines: dict[str, tuple[Any, Callable[[Dataset], Scorer]]] = {
        "popularity": (POPULARITY_HALF_LIFE_DAYS, lambda data: PopularityScorer(pipeline.popularity(data))),
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
