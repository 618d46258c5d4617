"""``localrec evaluate``: from a run directory to table, JSON, markdown and pictures."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.runs import FinishedRun

from localrec.cli import cli
from models.contract.bundle import Bundle
from models.contract.errors import ConfigError, DataError
from models.contract.fusion import FusionMethod
from models.experiments import lists
from models.experiments.bundle_lists import bundle_rows
from models.pipeline import Pipeline
from models.ranking.fusion_search import in_words
from models.run import SETTINGS, RunConfig, save_run


def evaluate(directory: Path, *arguments: object) -> Result:
    command = ["evaluate", "--run", str(directory), *map(str, arguments)]
    return CliRunner().invoke(cli, command)


@pytest.fixture(scope="module")
def run_directory(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, which remembers its settings."""
    directory = shutil.copytree(finished_run.directory, tmp_path_factory.mktemp("evaluated") / "run")
    save_run(directory, finished_run.config)
    return directory


def test_one_command_gives_table_json_markdown_and_pictures(
    finished_run: FinishedRun, run_directory: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    answer = evaluate(
        run_directory, "--json", out / "walks.json", "--markdown", out / "walks.md", "--plots", out / "plots"
    )

    assert answer.exit_code == 0, answer.output
    assert "walks: 40 test items, full ranking of" in answer.output
    assert "gain of NDCG@10 over global adapter" in answer.output
    document = json.loads((out / "walks.json").read_text())
    assert [row["name"] for row in document["rows"]] == lists.row_names(lists.QUICK)
    assert {"HR@1", "Recall@5", "NDCG@10", "MRR@20"} < document["rows"][0]["metrics"].keys()
    assert document["provenance"].keys() == {"bundle", "seed", "commit", "hardware", "command"}
    assert list(document["fusions"]) == [*map(lists.fused_name, FusionMethod), lists.SERVED]
    assert document["fusions"]["local adapters, Count"] == ["count"]
    assert document["fusions"][lists.SERVED] == [in_words(finished_run.bundle.manifest.serving.fusion())]
    assert "| served fusion |" in (out / "walks.md").read_text()
    assert len(list((out / "plots").glob("*.svg"))) == 4


def test_the_same_run_gives_the_same_rows(run_directory: Path, tmp_path: Path) -> None:
    files = [tmp_path / "first.json", tmp_path / "again.json"]
    for file in files:
        evaluate(run_directory, "--json", file)

    first, again = (json.loads(file.read_text())["rows"] for file in files)
    assert first == again


def test_the_commit_is_that_of_the_start(run_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = iter(["at the start", "moved on"])
    monkeypatch.setattr("localrec.bench.report.commit", lambda: next(commits))
    run = Pipeline.run

    def work(pipeline: Pipeline) -> Bundle:
        assert next(commits) == "moved on"  # asked before
        return run(pipeline)

    monkeypatch.setattr(Pipeline, "run", work)
    answer = evaluate(run_directory, "--json", tmp_path / "walks.json")

    assert answer.exit_code == 0, answer.output
    assert json.loads((tmp_path / "walks.json").read_text())["provenance"]["commit"] == "at the start"


def test_any_row_can_be_the_baseline(run_directory: Path, tmp_path: Path) -> None:
    evaluate(run_directory, "--against", "popularity", "--json", tmp_path / "walks.json")

    rows = {row["name"]: row for row in json.loads((tmp_path / "walks.json").read_text())["rows"]}
    assert rows["popularity"]["gains"] == {}
    assert rows["global adapter"]["gains"]["HR@10"]["interval"]["mean"] > 0


def test_candidates_can_be_sampled(run_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "N_NEGATIVES", 4)
    answer = evaluate(run_directory, "--protocol", "sampled", "--json", tmp_path / "walks.json")

    assert "sampled" in answer.output
    document = json.loads((tmp_path / "walks.json").read_text())
    assert document["protocol"] == "sampled"
    assert document["rows"][0]["metrics"]["HR@5"]["mean"] == 1.0  # five candidates


def test_a_bundle_is_measured_on_the_data_of_a_run(
    finished_run: FinishedRun, run_directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(run_directory / "data", tmp_path / "run" / "data")
    save_run(tmp_path / "run", finished_run.config)
    of_run, of_bundle = tmp_path / "run.json", tmp_path / "bundle.json"
    evaluate(run_directory, "--json", of_run)
    answer = evaluate(tmp_path / "run", "--bundle", finished_run.bundle.directory, "--json", of_bundle)

    assert answer.exit_code == 0, answer.output
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"data", SETTINGS}  # nothing was trained
    rows, again = ({row["name"]: row for row in json.loads(f.read_text())["rows"]} for f in (of_run, of_bundle))
    assert list(again) == bundle_rows(finished_run.bundle)
    assert "local adapters, wRRF(LLM)" not in again
    for name in ("popularity", "MultVAE", lists.GLOBAL):
        assert again[name] == rows[name]
    assert again[lists.SERVED]["metrics"]["NDCG@10"]["mean"] > again["popularity"]["metrics"]["NDCG@10"]["mean"]


def test_a_bundle_can_rank_samples(
    finished_run: FinishedRun, run_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "N_NEGATIVES", 4)
    arguments = ("--bundle", finished_run.bundle.directory, "--protocol", "sampled", "--json", tmp_path / "walks.json")
    answer = evaluate(run_directory, *arguments)

    assert answer.exit_code == 0, answer.output
    document = json.loads((tmp_path / "walks.json").read_text())
    assert document["protocol"] == "sampled"
    assert all(row["metrics"]["HR@5"]["mean"] == 1.0 for row in document["rows"])  # five candidates


def test_a_bundle_of_another_catalogue_is_refused(finished_run: FinishedRun, tmp_path: Path) -> None:
    data = finished_run.config.data
    files = {"interactions": tmp_path / "interactions.csv", "items": tmp_path / "items.csv"}
    for name, file in files.items():
        file.write_text(re.sub(r"item 1\b", "new", Path(getattr(data, name)).read_text()))
    other = replace(data, **{name: str(file) for name, file in files.items()})
    save_run(tmp_path / "run", replace(finished_run.config, data=other))
    answer = evaluate(tmp_path / "run", "--bundle", finished_run.bundle.directory)

    assert isinstance(answer.exception, DataError)
    assert "1 of them unknown to it" in str(answer.exception)


def test_a_bundle_has_no_baselines(finished_run: FinishedRun, run_directory: Path) -> None:
    answer = evaluate(run_directory, "--bundle", finished_run.bundle.directory, "--baselines")

    assert answer.exit_code == 2
    assert "--baselines: a bundle has none" in answer.output


def test_a_baseline_that_is_no_row_is_refused_before_any_work(tmp_path: Path) -> None:
    save_run(tmp_path / "run", RunConfig("walks"))
    answer = evaluate(tmp_path / "run", "--against", "SASRec")

    assert isinstance(answer.exception, ConfigError)
    assert "against: 'SASRec'; expected one of popularity, MultVAE, global adapter" in str(answer.exception)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [SETTINGS]
