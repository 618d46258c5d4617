"""The commands of the offline half, as far as they go without training: settings, checks, messages."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.bundles import make_bundle

from localrec.cli import cli
from localrec.serving_stack import newest_bundle
from models.contract.errors import LocalRecError
from models.pipeline import Pipeline
from models.run import SETTINGS, RunConfig, load_run, save_run
from models.stage import NEWEST


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    """A run directory that does not exist yet."""
    return tmp_path / "first"


@pytest.fixture
def interactions(tmp_path: Path) -> Path:
    """Eight users with six interactions each."""
    path = tmp_path / "interactions.csv"
    rows = [f"u{user},i{(user + step) % 9},{100 * user + step}" for user in range(8) for step in range(6)]
    path.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    return path


def localrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def remembered(directory: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / SETTINGS).read_text())
    return document


def failure(answer: Result) -> str:
    """The message of the LocalRecError that ended a command."""
    assert isinstance(answer.exception, LocalRecError), answer
    return str(answer.exception)


class TestSettings:
    def test_a_run_remembers_the_flags_of_each_command(self, run_directory: Path, interactions: Path) -> None:
        prepared = localrec(
            "data", "prepare", "--run", run_directory, "--source", "table", "--interactions", interactions
        )
        assert prepared.exit_code == 0, prepared.output
        assert "data: done" in prepared.output
        save_run(run_directory / "other", RunConfig("other"))
        localrec("train", "cf", "--run", run_directory / "other", "--epochs", 7)

        settings = remembered(run_directory)
        assert settings["name"] == "first"
        assert (settings["data"]["source"], settings["data"]["interactions"]) == ("table", str(interactions))
        assert remembered(run_directory / "other")["cf"]["epochs"] == 7

    def test_the_next_time_they_need_not_be_given(self, run_directory: Path, interactions: Path) -> None:
        localrec("data", "prepare", "--run", run_directory, "--source", "table", "--interactions", interactions)

        again = localrec("data", "prepare", "--run", run_directory)

        assert again.exit_code == 0
        assert "data: unchanged, reused" in again.output

    def test_a_flag_replaces_one_key_and_the_stage_runs_again(self, run_directory: Path, interactions: Path) -> None:
        localrec("data", "prepare", "--run", run_directory, "--source", "table", "--interactions", interactions)

        changed = localrec("data", "prepare", "--run", run_directory, "--core-items", 2)

        assert "data: done" in changed.output
        settings = remembered(run_directory)
        assert (settings["name"], settings["data"]["core_items"], settings["data"]["source"]) == ("first", 2, "table")

    @pytest.mark.parametrize(("flag", "value"), [("--name", "second"), ("--split", "time"), ("--source", "amazon")])
    def test_another_data_set_is_refused_and_not_remembered(
        self, run_directory: Path, interactions: Path, flag: str, value: str
    ) -> None:
        localrec("data", "prepare", "--run", run_directory, "--source", "table", "--interactions", interactions)
        before = load_run(run_directory)

        message = failure(localrec("data", "prepare", "--run", run_directory, flag, value))

        assert f"{flag.removeprefix('--')}: '{value}', but {run_directory} holds a run of" in message
        assert load_run(run_directory) == before

    def test_a_path_that_was_wrong_can_be_corrected(self, run_directory: Path, interactions: Path) -> None:
        prepare = ["data", "prepare", "--run", run_directory, "--source", "table", "--interactions"]
        assert "is not a file" in failure(localrec(*prepare, interactions.with_suffix(".tsv")))
        assert localrec(*prepare, interactions).exit_code == 0

    @pytest.mark.parametrize("existing", [False, True])
    def test_a_name_that_cannot_be_used_is_not_remembered(
        self, run_directory: Path, interactions: Path, existing: bool
    ) -> None:
        arguments = ["data", "prepare", "--run", run_directory, "--source", "table", "--interactions", interactions]
        if existing:
            localrec(*arguments)

        assert "name: 'Two Words'" in failure(localrec(*arguments, "--name", "Two Words"))

        assert (run_directory / SETTINGS).exists() is existing
        assert localrec(*arguments).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "cf", "--epochs", "0"], "cf.epochs: 0 is out of range; expected at least 1"),
        (["train", "cf", "--dropout", "1"], "cf.dropout: 1.0 is out of range; expected at least 0.0 and at most 0.95"),
        (["train", "cf", "--dropout", "nan"], "cf.dropout: nan is out of range"),
        (["train", "local", "--lora-rank", "x"], "local.lora_rank: 'x': Expected `int`"),
        (
            ["train", "local", "--lora-targets", "q_proj,head"],
            "local.lora_targets: ('q_proj', 'head'); expected one or",
        ),
        (["train", "local", "--adapted-layers", "0"], "local.adapted_layers: 0 is out of range; expected at least 1"),
        (["train", "local", "--adapted-layers", "2"], "local.adapted_layers: 2 is out of range; expected at most top_"),
        (["train", "collm", "--lora-rank", "0"], "collm.lora_rank: 0 is out of range; expected at least 1"),
        (["train", "hatllm", "--order", "IN,CR"], "hatllm.order: IN, CR; expected IN, OR, CR, each once"),
        (["train", "ulmrec", "--task-weights", "1,0.5"], "ulmrec.task_weights: 2 numbers; expected 6, of next-item"),
        (["train", "l2rec", "--top-k", "9"], "l2rec.top_k: 9; expected at most view_experts, 8"),
        (["communities", "build", "--bandwidth", "3"], "communities.bandwidth: 3.0 is out of range"),
        (["bundle", "build", "--candidates", "5"], "serving.candidates: 5 is out of range; expected at least 10"),
        (["data", "prepare", "--window", "1"], "data.window: 1 is out of range; expected at least 2"),
        (["evaluate", "--cutoffs", "0"], "evaluate.cutoffs: 0 is out of range; expected at least 1"),
    ],
)
def test_a_flag_out_of_range_names_key_value_and_bound_and_is_not_remembered(
    run_directory: Path, arguments: list[str], message: str
) -> None:
    save_run(run_directory, RunConfig("first"))
    assert message in failure(localrec(*arguments, "--run", run_directory))
    assert load_run(run_directory) == RunConfig("first")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "cf"],
        ["train", "local"],
        ["train", "collm"],
        ["train", "hatllm"],
        ["train", "ulmrec"],
        ["train", "l2rec"],
        ["communities", "build"],
        ["bundle", "build"],
        ["evaluate"],
    ],
)
def test_a_run_that_knows_no_data_says_so(run_directory: Path, arguments: list[str]) -> None:
    """Every command begins with the stages before its own, so that nothing is built on what has changed."""
    save_run(run_directory, RunConfig("first"))
    assert "data.interactions: is empty" in failure(localrec(*arguments, "--run", run_directory))


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "cf", "--epochs", "3"],
        ["train", "local"],
        ["train", "collm"],
        ["train", "hatllm"],
        ["train", "ulmrec"],
        ["train", "l2rec"],
        ["train", "report"],
        ["communities", "build"],
        ["communities", "report"],
        ["bundle", "build"],
        ["evaluate"],
        ["tune", "EASE"],
    ],
)
def test_a_directory_that_holds_no_run_is_refused_and_stays_as_it_is(tmp_path: Path, arguments: list[str]) -> None:
    message = failure(localrec(*arguments, "--run", tmp_path / "mistyped"))

    assert message.startswith(f"--run: {tmp_path / 'mistyped'} holds no run; expected one that localrec data prepare")
    assert not (tmp_path / "mistyped").exists()


class TestRun:
    def test_the_file_is_remembered_before_work_starts(self, run_directory: Path, tmp_path: Path) -> None:
        config = tmp_path / "run.toml"
        config.write_text('name = "demo"\n[data]\ninteractions = "nowhere.inter"\n')

        assert "nowhere.inter" in failure(localrec("run", config, "--run", run_directory))
        assert remembered(run_directory)["name"] == "demo"

    def test_a_file_that_cannot_be_used_leaves_nothing(self, run_directory: Path, tmp_path: Path) -> None:
        config = tmp_path / "run.toml"
        config.write_text('name = "demo"\n[cf]\nepochs = "many"\n')

        assert "cf.epochs: 'many'" in failure(localrec("run", config, "--run", run_directory))
        assert not run_directory.exists()


class TestTask:
    def test_items_join_communities_for_the_top_n_task_only(self, run_directory: Path, interactions: Path) -> None:
        save_run(run_directory, RunConfig("first"))
        build = ["communities", "build", "--run", run_directory, "--assignment", "user-item"]
        assert "communities.assignment: 'user-item' does not go with task 'sequential'" in failure(localrec(*build))
        assert remembered(run_directory)["communities"]["assignment"] == "user"

        prepare = ["data", "prepare", "--run", run_directory, "--source", "table", "--interactions", interactions]
        assert localrec(*prepare, "--task", "top-n").exit_code == 0

        localrec(*build, "--n-communities", 9)  # more than there are users: it ends before any training
        assert remembered(run_directory)["task"] == "top-n"
        assert remembered(run_directory)["communities"]["assignment"] == "user-item"


class TestReport:
    @pytest.fixture
    def page(self, tmp_path: Path) -> Path:
        return tmp_path / "pages" / "communities.html"

    def test_of_a_run_begins_with_the_stages_before(self, run_directory: Path, interactions: Path, page: Path) -> None:
        localrec("data", "prepare", "--run", run_directory, "--source", "table", "--interactions", interactions)
        settings = remembered(run_directory)
        settings["cf"] |= {"epochs": 1, "embedding_size": 4}
        settings["communities"] |= {"n_communities": 2, "candidate_share": 1.0}
        (run_directory / SETTINGS).write_text(json.dumps(settings))

        answer = localrec("communities", "report", "--run", run_directory, "--output", page)

        assert "communities: done" in answer.output
        assert f"page {page}" in answer.output
        assert "<h1>Communities of first</h1>" in page.read_text()

    def test_of_a_bundle_that_is_none(self, tmp_path: Path, page: Path) -> None:
        assert "not a bundle" in failure(localrec("communities", "report", "--bundle", tmp_path, "--output", page))
        assert not page.exists()


class TestVerify:
    def test_a_good_bundle(self, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path)

        answer = localrec("bundle", "verify", bundle.directory)

        assert answer.exit_code == 0
        assert answer.output == f"{bundle.id}: {len(bundle.manifest.files)} files match their checksums\n"

    def test_an_altered_one(self, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path)
        with bundle.path("items.jsonl").open("a") as file:
            file.write("\n")

        assert "items.jsonl does not match" in failure(localrec("bundle", "verify", bundle.directory))


class TestRunAgain:
    def test_without_a_file_it_goes_on_with_what_the_run_was_begun_with(
        self, run_directory: Path, interactions: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare = ("data", "prepare", "--run", run_directory, "--source", "table", "--interactions", interactions)
        assert localrec(*prepare).exit_code == 0
        ran: list[RunConfig] = []
        monkeypatch.setattr(Pipeline, "run", lambda pipeline: ran.append(pipeline.config))
        assert localrec("run", "--run", run_directory).exit_code == 0
        assert [config.data.interactions for config in ran] == [str(interactions)]

    def test_without_a_file_and_without_a_run_it_says_what_is_missing(self, run_directory: Path) -> None:
        assert failure(localrec("run", "--run", run_directory)).startswith(f"--run: {run_directory} holds no run")


class TestServeStack:
    def test_the_newest_bundle_of_the_run_is_served(self, tmp_path: Path) -> None:
        (tmp_path / NEWEST).write_text('{"bundle_id": "b-1"}')
        assert newest_bundle(tmp_path) == tmp_path / "bundles" / "b-1"

    def test_a_run_without_a_bundle_says_how_to_make_one(self, tmp_path: Path) -> None:
        answer = localrec("serve", "stack", "--run", tmp_path)
        assert failure(answer) == f"--run: {tmp_path} has no bundle; make one with localrec run --run {tmp_path}," + (
            " or name a --bundle"
        )
