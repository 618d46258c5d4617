"""Rows of further models in the evaluation's table."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from support.further import ULMREC, Trainer, with_both, with_ulmrec
from support.runs import FinishedRun

from models import further
from models.cf.popularity import PopularityConfig
from models.contract.profile import half
from models.contract.types import Floats, Ints
from models.experiments.bundle_lists import bundle_lists, bundle_rows
from models.experiments.further_lists import run_lists
from models.experiments.lists import GLOBAL, QUICK, ranked_lists, row_names
from models.pipeline import Pipeline
from models.types import Sequences

N = 5


class HigherNumbers:
    """Stands in for all scorers: an item's score is its number. Keeps the rows of the users that it was told."""

    users: ClassVar[list[int | None]] = []
    prompts: "HigherNumbers"

    def __init__(self, *_: object) -> None:
        self.prompts = self

    @classmethod
    def load(cls, directory: Path) -> "HigherNumbers":
        assert (directory / "weights").exists()
        return cls()

    def scores(self, histories: Sequences) -> Floats:
        return np.tile(np.arange(20, dtype=np.float32), (len(histories), 1))

    def rate(self, history: Ints, candidates: Ints, user: str | None) -> Floats:
        self.users.append(user)
        return candidates.astype(np.float32)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def pipeline(
    finished_run: FinishedRun,
    backbone_directory: Path,
    tmp_path: Path,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Pipeline:
    """A run with both models, which rank by item number."""
    monkeypatch.setattr(further, "MODELS", Trainer().models())
    for scorer in ("CoLLMScorer", "HatScorer", "ULMRecScorer"):
        monkeypatch.setattr(f"models.experiments.further_lists.{scorer}", HigherNumbers)
    HigherNumbers.users.clear()
    directory = shutil.copytree(finished_run.directory, tmp_path / "run")
    return Pipeline(directory, with_both(finished_run.config, backbone_directory), lines.append)


def best_unseen(pipeline: Pipeline) -> list[list[int]]:
    test = pipeline.results.dataset().examples("test")
    return [sorted(set(range(20)) - set(test.histories[row].tolist()))[::-1][:N] for row in range(len(test))]


def test_a_run_has_a_row_of_each_made_once(pipeline: Pipeline, lines: list[str]) -> None:
    bundle = pipeline.run()
    made = ranked_lists(pipeline, bundle, QUICK, N)
    assert list(made)[:5] == [*QUICK, "CoLLM", "HatLLM", GLOBAL]
    assert made["HatLLM"].tolist() == made["CoLLM"].tolist() == best_unseen(pipeline)  # all unseen items are candidates
    assert HigherNumbers.users[:3] == ["u00", "u01", "u02"]
    lines.clear()
    ranked_lists(pipeline, bundle, QUICK, N)
    assert {line for line in lines if "lists/collm" in line or "lists/hatllm" in line} == {
        "lists/collm: unchanged, reused",
        "lists/hatllm: unchanged, reused",
    }


def test_lists_are_made_again_where_what_fills_them_up_is_counted_otherwise(
    pipeline: Pipeline, lines: list[str]
) -> None:
    pipeline.run()
    run_lists(pipeline, ["collm", "hatllm"], N, None)
    lines.clear()
    shorter = replace(pipeline.config, popularity=PopularityConfig(half_life_days=1.0))
    run_lists(Pipeline(pipeline.directory, shorter, lines.append), ["collm", "hatllm"], N, None)
    assert "lists/hatllm: unchanged, reused" in lines
    assert "lists/collm: unchanged, reused" not in lines


def test_only_those_that_are_asked_for_are_ranked(pipeline: Pipeline) -> None:
    made = ranked_lists(pipeline, pipeline.run(), QUICK, N, further=["hatllm"])
    assert list(made) == row_names(QUICK, ["hatllm"])
    assert not HigherNumbers.users


def test_the_sampled_protocol_ranks_the_samples(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.experiments.lists.N_NEGATIVES", 4)
    made = ranked_lists(pipeline, pipeline.run(), QUICK, N, "sampled")
    assert made["HatLLM"].tolist() == made["CoLLM"].tolist()
    assert sorted(made["HatLLM"][0]) == sorted(made["popularity"][0])


def test_to_a_bundle_all_users_are_strangers(pipeline: Pipeline) -> None:
    bundle = pipeline.run()
    made = bundle_lists(bundle, pipeline.results.dataset(), N)
    assert list(made) == bundle_rows(bundle)
    assert made["HatLLM"].tolist() == made["CoLLM"].tolist() == best_unseen(pipeline)
    assert set(HigherNumbers.users) == {None}


def test_ulmrec_ranks_as_many_candidates_as_it_has_letters(pipeline: Pipeline, backbone_directory: Path) -> None:
    config = replace(with_ulmrec(pipeline.config, backbone_directory), collm=None, hatllm=None)
    pipeline = Pipeline(pipeline.directory, config, lambda _: None)
    pipeline.further("ulmrec")
    made = run_lists(pipeline, ["ulmrec"], 8, None)["ULMRec"]
    test, cf = pipeline.results.dataset().examples("test"), pipeline.results.cf_model()
    for row, listed in enumerate(made.tolist()):
        found = cf.recommend(half(cf.fold_in(test.histories[row])), 8, np.unique(test.histories[row])).items.tolist()
        ranked = ULMREC.candidates
        assert listed == [*sorted(found[:ranked], reverse=True), *found[ranked:]]
    assert HigherNumbers.users[:3] == ["u00", "u01", "u02"]
