"""The same run with other settings."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.runs import FinishedRun, run_config

from models.contract.errors import ConfigError
from models.experiments.lists import GLOBAL, SERVED
from models.experiments.training_sweep import parse, sweep_training, trials
from models.pipeline import Pipeline
from models.run import RunConfig, load_run
from models.stage import link_stages


@pytest.fixture
def config(tmp_path: Path, backbone_directory: Path) -> RunConfig:
    """Settings of a run that would work."""
    return run_config(tmp_path, backbone_directory)


class TestPlan:
    def test_one_key_at_a_time(self, config: RunConfig) -> None:
        planned = trials(config, [parse("local.top_layers=1,2"), parse("communities.bandwidth=0.8, 1.0")], grid=False)

        assert [trial.name for trial in planned] == [
            "local.top_layers=1",
            "local.top_layers=2",
            "communities.bandwidth=0.8",
            "communities.bandwidth=1.0",
        ]
        assert planned[0].config == replace(config, local=replace(config.local, top_layers=1))
        assert planned[3].config.communities.bandwidth == 1.0

    def test_every_combination(self, config: RunConfig) -> None:
        planned = trials(config, [parse("local.top_layers=1,2"), parse("communities.kernel=uniform")], grid=True)

        assert [(trial.axis, trial.value) for trial in planned] == [
            ("local.top_layers, communities.kernel", "1, uniform"),
            ("local.top_layers, communities.kernel", "2, uniform"),
        ]
        assert planned[1].name == "local.top_layers=2,communities.kernel=uniform"
        assert (planned[1].config.local.top_layers, planned[1].config.communities.kernel) == (2, "uniform")

    def test_values_of_one_section_are_taken_together(self, config: RunConfig) -> None:
        planned = trials(config, [parse("local.adapted_layers=1,2"), parse("local.top_layers=2")], grid=True)

        assert [(t.config.local.adapted_layers, t.config.local.top_layers) for t in planned] == [(1, 2), (2, 2)]

    def test_lists_have_semicolons_between_them(self, config: RunConfig) -> None:
        planned = trials(config, [parse("local.lora_targets=q_proj,v_proj; q_proj")], grid=False)

        assert [trial.config.local.lora_targets for trial in planned] == [("q_proj", "v_proj"), ("q_proj",)]
        assert [trial.name for trial in planned] == ["local.lora_targets=q_proj,v_proj", "local.lora_targets=q_proj"]

    def test_a_path_makes_one_directory(self, config: RunConfig) -> None:
        (trial,) = trials(config, [parse(f"local.backbone={config.local.backbone}")], grid=False)
        assert "/" not in trial.name

    @pytest.mark.parametrize(
        "text", ["local.top_layers", "top_layers=2", "local.top_layers=", "local.top_layers=1,,2", "a.b=1;"]
    )
    def test_what_is_no_key_with_values(self, text: str) -> None:
        with pytest.raises(ConfigError, match=rf"vary: '{text}'; expected SECTION\.KEY=v1,v2"):
            parse(text)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (
                "sasrec.epochs=3",
                "vary: sasrec.epochs: unknown section; expected one of cf, communities, local, serving",
            ),
            ("local.heads=3", "local.heads: unknown key; expected one of"),
            ("local.top_layers=two", "local.top_layers: 'two': "),
            ("local.top_layers=0", "local.top_layers: 0 is out of range; expected at least 1"),
            ("local.top_layers=2,3", "local.trunk_layers, local.top_layers: 2 \\+ 3 layers; expected at most 4"),
            ("communities.assignment=user-item", "communities.assignment: 'user-item' does not go with task"),
            ("communities.kernel=cubic", "communities.kernel: 'cubic': expected one of epanechnikov, uniform"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, config: RunConfig, text: str, reason: str) -> None:
        with pytest.raises(ConfigError, match=reason):
            trials(config, [parse(text)], grid=False)


def test_trials_reuse_what_a_setting_does_not_touch(finished_run: FinishedRun, tmp_path: Path) -> None:
    link_stages(finished_run.directory, tmp_path / "run")
    lines: list[str] = []
    pipeline = Pipeline(tmp_path / "run", finished_run.config, lines.append)
    planned = trials(finished_run.config, [parse("local.local_epochs=1,5"), parse("serving.candidates=10")], grid=False)

    found = list(sweep_training(pipeline, planned, "valid", lines.append))

    assert [(points[0].axis, points[0].value) for points in found] == [
        ("local.local_epochs", "1"),
        ("local.local_epochs", "5"),
        ("serving.candidates", "10"),
    ]
    by_model = [{point.model: point.metrics for point in points} for points in found]
    assert by_model[1] == by_model[2]  # both are the base run's own settings
    assert by_model[0][GLOBAL] == by_model[1][GLOBAL]
    directory = tmp_path / "run" / "sweeps" / "local.local_epochs=1"
    assert load_run(directory) == planned[0].config
    measured = json.loads((directory / "measured" / "valid" / "stage.json").read_text())
    assert "serving" in measured["inputs"]
    assert (directory / "global" / "stage.json").samefile(finished_run.directory / "global" / "stage.json")
    told = "\n".join(lines)
    after_first = told[told.index("1/3 local.local_epochs=1") : told.index("2/3 local.local_epochs=5")]
    assert "global: unchanged, reused" in after_first
    assert "local/c00: done" in after_first
    assert "local/c00: done" not in told[told.index("2/3") :]
    served = pipeline.results.tried_fusions()
    assert by_model[1][SERVED]["NDCG@10"].mean == pytest.approx(max(tried.ndcg for tried in served))

    lines.clear()
    assert list(sweep_training(pipeline, planned, "valid", lines.append)) == found
    assert not [line for line in lines if line.endswith("done")]
