"""Fusion over method, q, k and inference bandwidth."""

from pathlib import Path

import pytest
from support.runs import FinishedRun

from models.contract.errors import ConfigError
from models.contract.fusion import FusionMethod
from models.experiments.fusion_sweep import DAMPINGS, settings_of, sweep_fusion
from models.experiments.lists import fused_name
from models.experiments.sweep import Measured, Point
from models.pipeline import Pipeline
from models.ranking.fusion_search import DAMPED
from models.stage import link_stages

RRF, COUNT = fused_name(FusionMethod.RRF), fused_name(FusionMethod.COUNT)


@pytest.fixture
def pipeline(finished_run: FinishedRun, tmp_path: Path) -> Pipeline:
    """A finished run, to be written to."""
    link_stages(finished_run.directory, tmp_path / "run")
    return Pipeline(tmp_path / "run", finished_run.config, lambda line: None)


def swept(pipeline: Pipeline, examples: Measured = "valid") -> dict[tuple[str, str, str], Point]:
    settings = settings_of(2, pipeline.config.communities.serving_bandwidth)
    points = [point for of_setting in sweep_fusion(pipeline, settings, examples) for point in of_setting]
    return {(point.axis, point.value, point.model): point for point in points}


class TestPlan:
    def test_one_thing_is_varied_at_a_time(self) -> None:
        settings = settings_of(3, 0.8)

        assert [s.value for s in settings if s.axis == "q"] == ["1", "2", "3"]
        assert [s.value for s in settings if s.axis == "inference bandwidth"] == ["0.4", "0.5", "0.6", "0.7", "0.8"]
        assert [s.k for s in settings if s.axis == "k"] == list(DAMPINGS)
        assert all(s.methods == DAMPED for s in settings if s.axis == "k")
        assert all(s.bandwidth == 0.8 for s in settings if s.axis != "inference bandwidth")
        assert all(s.n_communities == 3 for s in settings if s.axis != "q")

    def test_bandwidths_can_be_given(self) -> None:
        given = [s.bandwidth for s in settings_of(1, 0.8, (0.7, 0.2)) if s.axis == "inference bandwidth"]
        assert given == [0.2, 0.7]

    @pytest.mark.parametrize("bandwidth", [0.9, 0.0])
    def test_further_than_the_lists_reach_is_refused(self, bandwidth: float) -> None:
        with pytest.raises(ConfigError, match=r"bandwidths: .* is out of range; expected above 0 and at most 0\.8"):
            settings_of(3, 0.8, (bandwidth,))


def test_the_run_itself_is_one_point_of_every_axis(pipeline: Pipeline) -> None:
    points = swept(pipeline)

    tried = {
        (t.settings.method, t.settings.k): t.ndcg for t in pipeline.results.tried_fusions() if not t.settings.others
    }
    for method in FusionMethod:
        of_run = points["fusion", "as chosen on validation", fused_name(method)]
        assert of_run.metrics["NDCG@10"].mean == pytest.approx(
            tried[method, pipeline.results.fusion_settings(method).k]
        )
        for axis, value in (("q", "2"), ("inference bandwidth", "0.9")):
            assert points[axis, value, fused_name(method)].metrics == of_run.metrics
    assert points["k", "10", RRF].metrics["NDCG@10"].mean == pytest.approx(tried[FusionMethod.RRF, 10.0])


def test_one_community_is_the_first_ones_own_list(pipeline: Pipeline) -> None:
    points, answers = swept(pipeline), pipeline.results.answers("valid")

    targets = pipeline.results.examples("valid").targets.tolist()
    members = [any(m.community == 0 for m in profile.memberships) for profile in answers.profiles]
    found = [target in answers.lists.get(row, "c00").items[:10] for row, target in enumerate(targets)]
    hits = sum(member and hit for member, hit in zip(members, found, strict=True))
    others = len(members) - sum(members)  # get fallbacks
    mean = points["q", "1", RRF].metrics["HR@10"].mean * len(targets)
    assert hits <= round(mean) <= hits + others
    assert points["q", "1", COUNT].metrics["HR@10"].mean * len(targets) == mean


def test_it_goes_on_where_it_was(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    first = swept(pipeline)
    monkeypatch.setattr("models.experiments.fusion_sweep._points", None)

    assert swept(pipeline) == first


def test_test_examples_are_points_of_their_own(pipeline: Pipeline) -> None:
    valid, test = swept(pipeline), swept(pipeline, "test")

    assert valid.keys() == test.keys()
    assert valid != test
    assert (pipeline.directory / "rankings" / "test" / "stage.json").exists()
