import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.runs import FinishedRun

from models import lists as evaluation
from models.contract.types import Ints
from models.lists import ALL, QUICK
from models.metrics import NO_ITEM, ranks_in_lists
from models.pipeline import Pipeline
from models.ranking import LocalRanker, recommend_all

N = 7
LOCAL_ROWS = [
    "global adapter",
    "local adapters, Count",
    "local adapters, RRF",
    "local adapters, wRRF(CF)",
]


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def pipeline(finished_run: FinishedRun, tmp_path: Path, reports: list[str]) -> Pipeline:
    """A finished run without lists, whose SASRec is small."""
    directory = shutil.copytree(finished_run.directory, tmp_path / "run")
    sasrec = replace(finished_run.config.sasrec, embedding_size=16, layers=1, epochs=2, history_length=8)
    return Pipeline(directory, replace(finished_run.config, sasrec=sasrec), reports.append)


def stages(reports: list[str], what: str) -> list[str]:
    return [line.removesuffix(f": {what}") for line in reports if line.endswith(f": {what}")]


def test_every_model_has_a_list_of_unseen_items_for_every_test_example(pipeline: Pipeline) -> None:
    made = evaluation.ranked_lists(pipeline, pipeline.bundle(), ALL, N)
    assert list(made) == [*ALL, *LOCAL_ROWS]  # the order of the table's rows
    test = pipeline.dataset().examples("test")
    for lists in made.values():
        assert lists.shape == (len(test), N)
        for row, items in enumerate(lists):
            assert NO_ITEM not in items
            assert len(set(items.tolist())) == N
            assert not set(items.tolist()) & set(test.histories[row].tolist())


def test_lists_are_made_once(pipeline: Pipeline, reports: list[str]) -> None:
    first = evaluation.ranked_lists(pipeline, pipeline.bundle(), QUICK, N)
    assert stages(reports, "done") == ["lists/popularity", "lists/multvae", "lists/local"]
    reports.clear()
    again = evaluation.ranked_lists(pipeline, pipeline.bundle(), QUICK, N)
    assert stages(reports, "unchanged, reused") == ["lists/popularity", "lists/multvae", "lists/local"]
    for name, lists in first.items():
        np.testing.assert_array_equal(again[name], lists)


def test_other_fusion_settings_make_the_local_lists_again(pipeline: Pipeline, reports: list[str]) -> None:
    evaluation.ranked_lists(pipeline, pipeline.bundle(), QUICK, N)
    reports.clear()
    changed = replace(pipeline.config, serving=replace(pipeline.config.serving, dampings=(55.0,)))
    other = Pipeline(pipeline.directory, changed, reports.append)
    other.serving()
    evaluation.ranked_lists(other, other.bundle(), QUICK, N)
    assert stages(reports, "done") == ["serving", "lists/local"]


def test_fused_lists_are_those_that_are_served(pipeline: Pipeline) -> None:
    served = evaluation.ranked_lists(pipeline, pipeline.bundle(), (), N)
    settings, system = pipeline.fusion_settings(), pipeline.system()
    answers = LocalRanker(system, settings.candidates).answers(pipeline.dataset().examples("test").histories)
    rows = dict(zip(("count", "rrf", "wrrf_cf"), LOCAL_ROWS[1:], strict=True))
    expected: Ints = recommend_all(system, answers, settings, N)
    np.testing.assert_array_equal(served[rows[settings.method]], expected)


def test_models_that_read_the_order_beat_popularity(pipeline: Pipeline) -> None:
    made = evaluation.ranked_lists(pipeline, pipeline.bundle(), ("popularity",), N)
    targets = pipeline.dataset().examples("test").targets
    hits = {name: np.isfinite(ranks_in_lists(lists, targets)).mean() for name, lists in made.items()}
    assert min(hits[name] for name in LOCAL_ROWS) > hits["popularity"]
