"""What cannot work is refused before any stage starts, naming what is wrong and what is expected."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.runs import pretend_prepared, run_config

from models.contract.errors import ConfigError, DataError
from models.data.prepare import DataConfig
from models.llm.backbone import layer_count
from models.papers.l3rec.config import check_backbone
from models.pipeline import Pipeline, train_community
from models.run import RunConfig, check_data_set, load_run, save_run, with_flags


@pytest.fixture
def config(tmp_path: Path, backbone_directory: Path) -> RunConfig:
    """Settings of a run that would work."""
    return run_config(tmp_path, backbone_directory)


def no_report(line: str) -> None:
    pass


def refusal(directory: Path, config: RunConfig, error: type[Exception]) -> str:
    """Why a run is refused; nothing must have been started."""
    with pytest.raises(error) as refused:
        Pipeline(directory, config, no_report).run()
    assert not directory.exists()
    return str(refused.value)


def test_layers_are_counted_without_the_weights(backbone_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((backbone_directory / "config.json").read_bytes())
    assert layer_count(str(tmp_path)) == 4


def test_more_layers_than_the_backbone_has(tmp_path: Path, config: RunConfig) -> None:
    many = replace(config, local=replace(config.local, trunk_layers=3, top_layers=2))
    message = refusal(tmp_path / "run", many, ConfigError)
    assert "local.trunk_layers, local.top_layers: 3 + 2 layers; expected at most 4 in all" in message
    check_backbone(config.local)  # 2 + 2 of 4 are not too many


@pytest.mark.parametrize("name", ["nowhere", "nowhere/model.gguf"])
def test_a_backbone_that_is_not_there(tmp_path: Path, config: RunConfig, name: str) -> None:
    (tmp_path / "nowhere").mkdir()
    lost = replace(config, local=replace(config.local, backbone=str(tmp_path / name)))
    message = refusal(tmp_path / "run", lost, ConfigError)
    assert f"backbone: '{tmp_path / name}' is no hub id, checkpoint or .gguf file that loads" in message


@pytest.mark.parametrize("table", ["interactions", "items"])
def test_a_table_that_is_not_there(tmp_path: Path, config: RunConfig, table: str) -> None:
    lost = replace(config, data=replace(config.data, **{table: str(tmp_path / "lost.csv")}))
    assert f"data.{table}: {tmp_path / 'lost.csv'} is not a file" in refusal(tmp_path / "run", lost, DataError)


def test_stages_before_the_language_model_need_no_backbone(tmp_path: Path, config: RunConfig) -> None:
    pipeline = Pipeline(tmp_path / "run", replace(config, local=replace(config.local, top_layers=9)), no_report)
    pipeline.run_until(pipeline.data)
    assert (tmp_path / "run" / "data" / "stage.json").exists()


class TestDataSet:
    BEAUTY = RunConfig("beauty", data=DataConfig("amazon", "raw/beauty.json", split="leave-one-out"))

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (replace(BEAUTY, name="sports"), "name: 'sports', but {} holds a run of 'beauty'"),
            ({"source": "table"}, "data.source: 'table', but {} holds a run of 'amazon'"),
            ({"interactions": "/raw/sports.json"}, "data.interactions: '/raw/sports.json', but {} holds a run of"),
            ({"split": "time"}, "data.split: 'time', but {} holds a run of 'leave-one-out'"),
        ],
    )
    def test_a_run_of_another_is_not_replaced(
        self, tmp_path: Path, other: RunConfig | dict[str, Any], message: str
    ) -> None:
        save_run(tmp_path, self.BEAUTY)
        pretend_prepared(tmp_path)
        config = other if isinstance(other, RunConfig) else with_flags(self.BEAUTY, "data", other)
        with pytest.raises(ConfigError) as refused:
            check_data_set(tmp_path, config)
        assert str(refused.value).startswith(message.format(tmp_path))
        assert str(refused.value).endswith("; expected that, or another --run")

    @pytest.mark.parametrize(
        "same", [{}, {"core_items": 5}, {"interactions": "raw/../raw/beauty.json"}, {"items": "raw/items.json"}]
    )
    def test_other_filters_and_other_words_for_a_path_are_the_same_one(
        self, tmp_path: Path, same: dict[str, Any]
    ) -> None:
        save_run(tmp_path, self.BEAUTY)
        pretend_prepared(tmp_path)
        check_data_set(tmp_path, with_flags(self.BEAUTY, "data", same))

    def test_before_any_data_are_prepared_there_is_nothing_to_replace(self, tmp_path: Path) -> None:
        save_run(tmp_path, self.BEAUTY)
        check_data_set(tmp_path, RunConfig("sports"))
        check_data_set(tmp_path / "new", RunConfig("sports"))


def test_settings_of_another_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"name": "beauty", "local": {"heads": 3}}')
    with pytest.raises(
        ConfigError, match=r"run\.json: local\.heads: unknown key.*expected the settings of a run of this"
    ):
        load_run(tmp_path)


def test_a_process_that_does_not_see_the_run_directory_says_so(tmp_path: Path, config: RunConfig) -> None:
    with pytest.raises(DataError, match="expected the run directory on storage that all share"):
        train_community(tmp_path / "elsewhere", config, config.local.backbone, 0, no_report)
