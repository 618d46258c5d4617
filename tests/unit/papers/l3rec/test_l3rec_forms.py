"""A run in the title form, from the data to the bundle: what of the stages depends on the form."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.runs import run_config

from models.contract.prompts import TitleTokens
from models.pipeline import Pipeline


@pytest.fixture(scope="module")
def title_run(backbone_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, list[str]]:
    """The run, and what it reported."""
    root, reports = tmp_path_factory.mktemp("title"), []
    config = run_config(root, backbone_directory)
    config = replace(config, local=replace(config.local, form="title", epochs=1, local_epochs=1))
    pipeline = Pipeline(root / "run", config, reports.append)
    pipeline.run()
    return pipeline, reports


def test_the_bundle_is_of_the_title_form(title_run: tuple[Pipeline, list[str]]) -> None:
    pipeline, _ = title_run
    model = pipeline.bundle().manifest.model
    assert (model.form, model.table_rank) == ("title", 0)
    assert model.item_tokens == TitleTokens.load(pipeline.directory / "global").longest > 1


def test_the_trunks_states_are_a_stage_of_their_own(title_run: tuple[Pipeline, list[str]]) -> None:
    _, reports = title_run
    assert reports.index("trunk: done") < reports.index("global: done") < reports.index("local/c00: done")


@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        ({"newest_windows": 1}, ["trunk", "global", "local/c00", "local/c01"]),
        ({"top_layers": 1}, ["global", "local/c00", "local/c01"]),  # the trunk ends below them
    ],
)
def test_the_trunk_reads_anew_only_what_it_has_not_read(
    title_run: tuple[Pipeline, list[str]], tmp_path: Path, changes: dict[str, int], trained: list[str]
) -> None:
    pipeline, _ = title_run
    directory = shutil.copytree(pipeline.directory, tmp_path / "run")
    config, again = pipeline.config, []
    config = replace(config, local=replace(config.local, **changes))
    changed = Pipeline(directory, config, again.append)
    changed.run_until(changed.local)
    worked = [line.removesuffix(": done") for line in again if line.endswith(": done")]
    assert worked == trained
