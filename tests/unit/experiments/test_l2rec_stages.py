"""L2Rec as a stage of a run, and its row in the evaluation's table: trained for real, for a moment."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.l2rec import small_l2rec
from support.runs import FinishedRun

from models.contract.errors import ConfigError
from models.contract.specs import L2RecSpec
from models.experiments.further_lists import run_lists
from models.further import exported
from models.papers.l2rec.scoring import L2RecScorer
from models.pipeline import Pipeline

N = 5


@pytest.fixture
def pipeline(finished_run: FinishedRun, backbone_directory: Path, tmp_path: Path, lines: list[str]) -> Pipeline:
    """A copy of the finished run, which has L2Rec."""
    directory = shutil.copytree(finished_run.directory, tmp_path / "run")
    settings = replace(small_l2rec(backbone_directory), steps=2, evaluate_every=2)
    return Pipeline(directory, replace(finished_run.config, l2rec=settings), lines.append)


@pytest.fixture
def lines() -> list[str]:
    return []


def worked(lines: list[str]) -> list[str]:
    return [line.removesuffix(": done") for line in lines if line.endswith(": done")]


def test_a_run_trains_it_on_its_cf_model_and_ranks_with_what_is_exported(pipeline: Pipeline, lines: list[str]) -> None:
    pipeline.further("l2rec")
    assert worked(lines) == ["l2rec", "parts/l2rec"]

    cf = pipeline.results.cf_model()
    model = exported(pipeline.directory, "l2rec")
    assert isinstance(model.spec, L2RecSpec)
    assert model.spec.user_size == cf.embedding_size

    lists = run_lists(pipeline, ["l2rec"], N, None)["L2Rec"]
    test = pipeline.results.dataset().examples("test")
    scores = L2RecScorer.load(model.directory, cf).scores(test.histories)
    for row in range(len(test)):
        scores[row, test.histories[row]] = -np.inf
    assert lists.tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :N].tolist()

    lines.clear()
    run_lists(pipeline, ["l2rec"], N, None)
    pipeline.further("l2rec")
    assert worked(lines) == []


def test_layers_that_the_backbone_lacks_are_refused_before_any_work(pipeline: Pipeline, lines: list[str]) -> None:
    assert pipeline.config.l2rec is not None
    deep = replace(pipeline.config, l2rec=replace(pipeline.config.l2rec, layers=99))
    with pytest.raises(ConfigError, match=r"l2rec\.layers: 99 is out of range"):
        Pipeline(pipeline.directory, deep, lines.append).further("l2rec")
    assert lines == []


def test_a_first_phase_that_is_not_there_is_refused_before_any_work(pipeline: Pipeline, lines: list[str]) -> None:
    assert pipeline.config.l2rec is not None
    begun = replace(pipeline.config, l2rec=replace(pipeline.config.l2rec, initial="elsewhere"))
    with pytest.raises(ConfigError, match=r"l2rec\.initial: elsewhere: no L2Rec that is trained"):
        Pipeline(pipeline.directory, begun, lines.append).further("l2rec")
    assert lines == []
