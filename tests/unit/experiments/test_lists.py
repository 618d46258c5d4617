import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.runs import FinishedRun

from models.contract.errors import DataError
from models.contract.selection import FusionSettings
from models.evaluation.measure import Protocol
from models.evaluation.metrics import NO_ITEM, ranks_in_lists
from models.evaluation.negatives import candidates
from models.experiments.lists import ENSEMBLE, NEGATIVES_SEED, QUICK, baselines_of, ranked_lists, row_names
from models.pipeline import Pipeline
from models.ranking.fusion_search import Tried
from models.ranking.recommend import recommend_all

N = 7
ALL = baselines_of("sequential")
LOCAL_ROWS = [
    "global adapter",
    "local adapters, Count",
    "local adapters, RRF",
    "local adapters, wRRF(CF)",
    "local adapters, wRRF(LLM)",
    "local adapters, scores",
    "served fusion",
]
SHORT: dict[str, dict[str, int]] = {
    "sasrec": {"embedding_size": 16, "layers": 1, "epochs": 2, "history_length": 8},
    "gru4rec": {"epochs": 2},
    "lightgcn": {"epochs": 2},
    "mf_bpr": {"epochs": 2},
}


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def pipeline(finished_run: FinishedRun, tmp_path: Path, reports: list[str]) -> Pipeline:
    """A finished run without lists, whose baselines take no time."""
    directory = shutil.copytree(finished_run.directory, tmp_path / "run")
    config = finished_run.config
    sections = {name: replace(getattr(config, name), **values) for name, values in SHORT.items()}
    return Pipeline(directory, replace(config, **sections), reports.append)


def stages(reports: list[str], what: str) -> list[str]:
    """Lists that were made, or reused."""
    return [line.removesuffix(f": {what}") for line in reports if line.startswith("lists/") and line.endswith(what)]


def test_every_model_has_a_list_of_unseen_items_for_every_test_example(pipeline: Pipeline) -> None:
    made = ranked_lists(pipeline, pipeline.bundle(), ALL, N)
    assert list(made) == row_names(ALL) == [*ALL, *LOCAL_ROWS, ENSEMBLE]
    test = pipeline.results.dataset().examples("test")
    for lists in made.values():
        assert lists.shape == (len(test), N)
        for row, items in enumerate(lists):
            assert NO_ITEM not in items
            assert len(set(items.tolist())) == N
            assert not set(items.tolist()) & set(test.histories[row].tolist())


@pytest.mark.parametrize(("protocol", "stage"), [("full", "lists/ensemble"), ("sampled", "lists/ensemble-sampled")])
def test_other_votes_of_a_baseline_are_fused_again(
    pipeline: Pipeline, reports: list[str], monkeypatch: pytest.MonkeyPatch, protocol: Protocol, stage: str
) -> None:
    monkeypatch.setattr("models.experiments.lists.N_NEGATIVES", 4)
    same = [Tried(FusionSettings(candidates=10, others=(("item-kNN", 1.0),)), 0.5)]
    monkeypatch.setattr("models.experiments.lists.try_fusions", lambda *_: same)
    bundle, voting = pipeline.bundle(), ("item-kNN",)
    ranked_lists(pipeline, bundle, voting, N, protocol)
    reports.clear()

    alone = replace(pipeline.config, item_knn=replace(pipeline.config.item_knn, neighbours=1))
    ranked_lists(Pipeline(pipeline.directory, alone, reports.append), bundle, voting, N, protocol)

    assert stages(reports, "done") == ["lists/item-knn", "lists/ensemble-fusion", stage]


def test_models_of_sequences_have_no_place_among_sets() -> None:
    of_sets = baselines_of("top-n")
    assert [name for name in ALL if name not in of_sets] == ["GRU4Rec", "SASRec", "SASRec + text"]
    assert row_names(of_sets) == [*of_sets, *LOCAL_ROWS, ENSEMBLE]


def test_lists_are_made_once(pipeline: Pipeline, reports: list[str]) -> None:
    first = ranked_lists(pipeline, pipeline.bundle(), QUICK, N)
    assert stages(reports, "done") == ["lists/popularity", "lists/multvae", "lists/local"]
    reports.clear()
    again = ranked_lists(pipeline, pipeline.bundle(), QUICK, N)
    assert stages(reports, "unchanged, reused") == ["lists/popularity", "lists/multvae", "lists/local"]
    for name, lists in first.items():
        np.testing.assert_array_equal(again[name], lists)


def test_other_fusion_settings_make_the_local_lists_again(pipeline: Pipeline, reports: list[str]) -> None:
    ranked_lists(pipeline, pipeline.bundle(), QUICK, N)
    reports.clear()
    changed = replace(pipeline.config, serving=replace(pipeline.config.serving, dampings=(55.0,)))
    other = Pipeline(pipeline.directory, changed, reports.append)
    other.serving()
    ranked_lists(other, other.bundle(), QUICK, N)
    assert stages(reports, "done") == ["lists/local"]


def test_the_served_fusion_is_what_the_bundle_says(pipeline: Pipeline) -> None:
    bundle = pipeline.bundle()
    made = ranked_lists(pipeline, bundle, (), N)
    pipeline.rank("test")
    expected = recommend_all(
        pipeline.results.system(), pipeline.results.answers("test"), bundle.manifest.serving.fusion(), N
    )
    np.testing.assert_array_equal(made["served fusion"], expected)


class TestSampledProtocol:
    NEGATIVES = 4

    @pytest.fixture(autouse=True)
    def _few_negatives(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The catalogue is small."""
        monkeypatch.setattr("models.experiments.lists.N_NEGATIVES", self.NEGATIVES)

    def test_every_model_ranks_the_same_few_items(self, pipeline: Pipeline) -> None:
        made = ranked_lists(pipeline, pipeline.bundle(), QUICK, N, "sampled")

        test = pipeline.results.dataset().examples("test")
        allowed = candidates(test, len(pipeline.results.dataset().catalogue), self.NEGATIVES, NEGATIVES_SEED)
        assert list(made) == [*QUICK, *LOCAL_ROWS]
        for lists in made.values():
            assert lists.shape == (len(test), N)
            for row, items in enumerate(lists):
                assert set(items[items != NO_ITEM].tolist()) == set(allowed[row].tolist())

    def test_baselines_are_not_trained_again_for_it(self, pipeline: Pipeline, reports: list[str]) -> None:
        ranked_lists(pipeline, pipeline.bundle(), QUICK, N)
        reports.clear()
        ranked_lists(pipeline, pipeline.bundle(), QUICK, N, "sampled")
        assert stages(reports, "done") == ["lists/local-sampled"]

    def test_a_catalogue_that_is_too_small_is_refused(
        self, pipeline: Pipeline, reports: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("models.experiments.lists.N_NEGATIVES", 99)
        with pytest.raises(DataError, match="expected at least 99"):
            ranked_lists(pipeline, pipeline.bundle(), QUICK, N, "sampled")
        assert stages(reports, "done") == []


def test_models_that_read_the_order_beat_popularity(pipeline: Pipeline) -> None:
    made = ranked_lists(pipeline, pipeline.bundle(), ("popularity",), N)
    targets = pipeline.results.dataset().examples("test").targets
    hits = {name: np.isfinite(ranks_in_lists(lists, targets)).mean() for name, lists in made.items()}
    assert min(hits[name] for name in LOCAL_ROWS) > hits["popularity"]
