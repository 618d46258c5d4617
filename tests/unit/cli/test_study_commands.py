"""``localrec study``, ``localrec sweep`` and ``localrec fetch``."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from support.runs import run_config

from localrec import studies
from localrec.cli import cli
from models import fetch
from models.cf import baselines
from models.contract.errors import ConfigError, DataError
from models.contract.fusion import FusionMethod
from models.experiments import lists
from models.experiments.study import Study
from models.ranking.fusion_search import Tried, best_fusion, in_words
from models.run import RunConfig

QUICK = ("popularity", "MultVAE", "EASE", "SASRec")


def localrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def as_toml(config: RunConfig) -> str:
    """The settings as a file; what JSON writes is TOML, too, but for null."""
    document: dict[str, Any] = msgspec.to_builtins(config)
    sections = {key: value for key, value in document.items() if isinstance(value, dict)}
    others = {key: value for key, value in document.items() if key not in sections and value is not None}
    lines = [f"{key} = {json.dumps(value)}" for key, value in others.items()]
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(v)}" for key, v in values.items() if v is not None)]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def done(
    backbone_directory: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch
) -> tuple[Path, Result]:
    """A study with two seeds and few baselines: its directory, which holds everything, and what it told."""
    for module in ("localrec.studies", "models.experiments.study"):
        monkeypatch_module.setattr(f"{module}.baselines_of", lambda task: QUICK)
    monkeypatch_module.setattr(lists, "N_NEGATIVES", 4)
    directory = tmp_path_factory.mktemp("study")
    (directory / "walks.toml").write_text(as_toml(run_config(directory, backbone_directory)))
    return directory, run_study(directory, "global adapter", "SASRec")


def run_study(directory: Path, *against: str) -> Result:
    return localrec(
        *("study", directory / "walks.toml", "--run", directory / "runs", "--seeds", "0,1"),
        *(argument for name in against for argument in ("--against", name)),
        *("--protocol", "full", "--protocol", "sampled", "--out", directory / "results" / "walks"),
    )


def move_on(monkeypatch: pytest.MonkeyPatch, owner: object, work: str) -> None:
    """Somebody commits while a command does its work."""
    checkout = ["at the start"]
    done = getattr(owner, work)

    def work_and_commit(*arguments: Any, **options: Any) -> Any:
        checkout.append("moved on")
        return done(*arguments, **options)

    monkeypatch.setattr("localrec.bench.report.commit", lambda: checkout[-1])
    monkeypatch.setattr(owner, work, work_and_commit)


class TestStudy:
    def test_one_command_makes_runs_tables_and_pictures(self, done: tuple[Path, Result]) -> None:
        directory, answer = done

        assert answer.exit_code == 0, answer.output
        assert "walks: 40 test items, full ranking of 20, mean over seeds 0, 1; gain of NDCG@10" in answer.output
        assert sorted(path.name for path in (directory / "runs").iterdir()) == ["seed-0", "seed-1"]
        names = {path.name for path in (directory / "results").iterdir()}
        assert names == {"walks", "walks.json", "walks.md", "walks-sampled", "walks-sampled.json", "walks-sampled.md"}
        assert (directory / "results" / "walks" / "metrics.svg").exists()
        assert (directory / "results" / "walks" / "gains.svg").exists()
        assert (
            "<!-- million examples, of all adapters -->"
            in (directory / "results" / "walks" / "training-cost.svg").read_text()
        )

    def test_the_document_says_how_it_was_made_and_what_it_cost(self, done: tuple[Path, Result]) -> None:
        document = json.loads((done[0] / "results" / "walks.json").read_text())

        assert (document["dataset"], document["seeds"], document["protocol"]) == ("walks", [0, 1], "full")
        assert document["provenance"].keys() == {"commit", "hardware", "command", "seeds", "trained on"}
        assert [row["name"] for row in document["rows"]] == lists.row_names(QUICK)
        assert len(document["rows"][0]["by_seed"]["NDCG@10"]) == 2
        assert document["also_against"]["SASRec"]["popularity"]["NDCG@10"]["p_value"] > 0
        assert document["training_cost"].keys() == {"0", "1"}
        assert document["training_cost"]["1"]["local"].keys() == {"c00", "c01"}
        assert document["training_cost"]["1"]["local"]["c01"]["seconds"] > 0

    def test_the_document_says_what_each_seed_was_fused_with(self, done: tuple[Path, Result]) -> None:
        fusions = json.loads((done[0] / "results" / "walks.json").read_text())["fusions"]

        assert list(fusions) == [*map(lists.fused_name, FusionMethod), lists.SERVED, lists.ENSEMBLE]
        for name, seeds in fusions.items():
            assert len(seeds) == 2, name
        run = done[0] / "runs" / "seed-1"
        tried = msgspec.json.decode((run / "lists" / "ensemble-fusion" / "tried.json").read_bytes(), type=list[Tried])
        assert fusions[lists.ENSEMBLE][1] == in_words(best_fusion(tried))

    def test_the_page_has_seeds_both_comparisons_and_costs(self, done: tuple[Path, Result]) -> None:
        page = (done[0] / "results" / "walks.md").read_text()

        for title in (
            "NDCG@10 by seed",
            "Gain over global adapter",
            "Gain over SASRec",
            "Fusion settings, chosen on validation items",
            "Training cost: 2 local adapters",
        ):
            assert f"\n## {title}" in page
        assert "1 + 99 sampled of 20" in (done[0] / "results" / "walks-sampled.md").read_text()

    def test_what_a_run_cost_is_told_for_every_adapter(self, done: tuple[Path, Result], tmp_path: Path) -> None:
        run, file = done[0] / "runs" / "seed-1", tmp_path / "cost.json"
        answer = localrec("train", "report", "--run", run, "--json", file)

        assert answer.exit_code == 0, answer.output
        for training in ("global adapter", "c00", "c01", "2 local adapters in parallel", "2 local adapters summed"):
            assert f"| 1 | {training} |" in answer.output
        assert "\n\nOn cpu" in answer.output
        assert json.loads(file.read_text())["global"]["parameters"] > 0

    def test_what_the_seed_does_not_decide_is_made_once(self, done: tuple[Path, Result]) -> None:
        directory, answer = done

        second = answer.output[answer.output.index("seed 1: ") :]
        for stage in ("data", "items", "lists/popularity", "lists/ease"):
            assert f"{stage}: unchanged, reused" in second
        for stage in ("cf", "communities", "global", "local/c00", "lists/sasrec"):
            assert f"{stage}: done" in second
        runs = directory / "runs"
        assert (runs / "seed-1" / "data" / "stage.json").samefile(runs / "seed-0" / "data" / "stage.json")
        assert [
            json.loads((runs / name / "run.json").read_text())["sasrec"]["seed"] for name in ("seed-0", "seed-1")
        ] == [0, 1]

    def test_again_it_only_measures(self, done: tuple[Path, Result]) -> None:
        before = json.loads((done[0] / "results" / "walks.json").read_text())["rows"]
        again = run_study(done[0], "EASE")

        assert again.exit_code == 0, again.output
        assert ": done" not in again.output
        after = json.loads((done[0] / "results" / "walks.json").read_text())
        assert (after["against"], after["also_against"]) == ("EASE", {})
        assert [row["metrics"] for row in after["rows"]] == [row["metrics"] for row in before]

    def test_the_commit_is_that_of_the_start(self, done: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch) -> None:
        move_on(monkeypatch, Study, "lists")
        assert run_study(done[0], "EASE").exit_code == 0
        document = json.loads((done[0] / "results" / "walks.json").read_text())
        assert document["provenance"]["commit"] == "at the start"

    def test_what_cannot_be_used_is_refused_before_any_work(self, done: tuple[Path, Result], tmp_path: Path) -> None:
        config, run = done[0] / "walks.toml", tmp_path / "runs"

        unknown = localrec("study", config, "--run", run, "--against", "GPT")
        assert isinstance(unknown.exception, ConfigError)
        assert "against: 'GPT'; expected one of popularity" in str(unknown.exception)
        for seeds in ("0,0", "a", "-1", ""):
            assert localrec("study", config, "--run", run, "--seeds", seeds).exit_code == 2
        (tmp_path / "other.toml").write_text('name = "other"\n[data]\ninteractions = "lost.csv"\n')
        missing = localrec("study", tmp_path / "other.toml", "--run", run)
        assert isinstance(missing.exception, DataError)
        assert "data.interactions: lost.csv is not a file" in str(missing.exception)
        foreign = localrec("study", tmp_path / "other.toml", "--run", done[0] / "runs")
        assert "holds a run of 'walks'" in str(foreign.exception)


class TestSweep:
    @pytest.mark.parametrize(
        ("arguments", "work"),
        [
            (["fusion", "--bandwidths", "0.9"], "sweep_fusion"),
            (["train", "--vary", "communities.inference_bandwidth=0.9"], "sweep_training"),
        ],
    )
    def test_the_commit_is_that_of_the_start(
        self,
        done: tuple[Path, Result],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        work: str,
    ) -> None:
        move_on(monkeypatch, studies, work)
        answer = localrec("sweep", *arguments, "--run", done[0] / "runs" / "seed-1", "--out", tmp_path / "walks")
        assert answer.exit_code == 0, answer.output
        assert json.loads((tmp_path / "walks.json").read_text())["provenance"]["commit"] == "at the start"

    def test_fusion_writes_tables_and_pictures_from_the_kept_rankings(
        self, done: tuple[Path, Result], tmp_path: Path
    ) -> None:
        run, out = done[0] / "runs" / "seed-1", tmp_path / "walks-fusion"
        answer = localrec("sweep", "fusion", "--run", run, "--test", "--out", out)

        assert answer.exit_code == 0, answer.output
        assert "rankings/test: unchanged, reused" in answer.output
        assert "best NDCG@10" in answer.output
        page = out.with_suffix(".md").read_text()
        for title in (
            "fusion: as chosen on validation",
            "NDCG@10 over q",
            "NDCG@10 over k",
            "HR@10 over inference bandwidth",
        ):
            assert f"\n## {title}" in page
        assert {path.name for path in out.glob("*.png")} == {"q.png", "k.png", "inferencebandwidth.png"}
        assert json.loads(out.with_suffix(".json").read_text())["examples"] == "test"

    def test_fusion_refuses_bandwidths_beyond_the_lists(self, done: tuple[Path, Result]) -> None:
        answer = localrec("sweep", "fusion", "--run", done[0] / "runs" / "seed-1", "--bandwidths", "0.5,1.0")
        assert "bandwidths: 1 is out of range; expected above 0 and at most 0.9" in str(answer.exception)

    def test_train_writes_beside_its_runs(self, done: tuple[Path, Result]) -> None:
        run = done[0] / "runs" / "seed-0"
        answer = localrec("sweep", "train", "--run", run, "--vary", "communities.inference_bandwidth=0.5,0.9")

        assert answer.exit_code == 0, answer.output
        assert "2/2 communities.inference_bandwidth 0.9: best NDCG@10" in answer.output
        document = json.loads((run / "sweeps" / "communities.inference_bandwidth-valid.json").read_text())
        assert (document["examples"], document["n_examples"]) == ("valid", 40)
        assert [point["value"] for point in document["points"] if point["model"] == lists.SERVED] == ["0.5", "0.9"]
        assert (run / "sweeps" / "communities.inference_bandwidth=0.5" / "run.json").exists()

    @pytest.mark.parametrize("sweep", [["fusion"], ["train", "--vary", "local.top_layers=1"]])
    def test_a_directory_without_a_run_is_refused(self, tmp_path: Path, sweep: list[str]) -> None:
        answer = localrec("sweep", *sweep, "--run", tmp_path / "none")

        assert isinstance(answer.exception, ConfigError)
        assert "holds no run; expected one that" in str(answer.exception)
        assert not (tmp_path / "none").exists()


def test_fetch_puts_each_into_its_own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[tuple[fetch.Carried, Path]] = []

    def remember(carried: fetch.Carried, directory: Path, report: object) -> Path:
        fetched.append((carried, directory))
        return directory

    monkeypatch.setattr("localrec.fetching.fetch_files", remember)
    answer = localrec("fetch", "ml-100k", "minilm-l6-v2", "--into", tmp_path)

    assert answer.exit_code == 0, answer.output
    assert fetched == [(fetch.ML_100K, tmp_path / "ml-100k"), (fetch.MINILM, tmp_path / "minilm-l6-v2")]
    assert localrec("fetch", "gpt").exit_code == 2


def test_the_quick_baselines_of_these_tests_are_baselines() -> None:
    assert set(QUICK) <= set(baselines.BASELINES)
