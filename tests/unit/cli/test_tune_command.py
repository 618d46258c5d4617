"""``localrec tune``."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from localrec.cli import cli
from models.cf.baselines import BASELINES
from models.run import SETTINGS


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    """A prepared run: users walk along a ring of items."""
    rows = [f"u{user},i{(user + step) % 9},{100 * user + step}" for user in range(30) for step in range(6)]
    table = tmp_path / "interactions.csv"
    table.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    directory = tmp_path / "ring"
    prepared = localrec("data", "prepare", "--run", directory, "--source", "table", "--interactions", table)
    assert prepared.exit_code == 0, prepared.output
    return directory


def localrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def remembered(directory: Path, section: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / SETTINGS).read_text())[section]
    return document


def trials(directory: Path, section: str) -> list[dict[str, Any]]:
    lines = (directory / "tuning" / f"{section}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_best_settings_are_kept_in_the_run(run_directory: Path) -> None:
    answer = localrec("tune", "item-knn", "--run", run_directory, "--trials", 6)

    assert answer.exit_code == 0, answer.output
    tried = trials(run_directory, "item_knn")
    assert len(tried) == 6
    best = max(tried, key=lambda trial: trial["ndcg"])
    assert remembered(run_directory, "item_knn") == best["config"]
    assert f"item-kNN: validation NDCG@10 {best['ndcg']:.4f}, kept in section item_knn" in answer.output
    assert "6/6: validation NDCG@10" in answer.output


def test_a_small_space_is_searched_whole(run_directory: Path) -> None:
    assert localrec("tune", "EASE", "--run", run_directory).exit_code == 0

    regs = [trial["config"]["regs"] for trial in trials(run_directory, "ease")]
    assert regs == [[30.0, 100.0, 300.0, 1000.0], [3.0], [10.0], [30.0], [100.0], [300.0], [1000.0], [3000.0]]


def test_again_nothing_is_trained_twice(run_directory: Path) -> None:
    localrec("tune", "popularity", "--run", run_directory, "--trials", 3)
    before = trials(run_directory, "popularity")

    again = localrec("tune", "popularity", "--run", run_directory, "--trials", 3)

    assert again.exit_code == 0, again.output
    kept = [trial["config"] for trial in trials(run_directory, "popularity")]
    assert kept[: len(before)] == [trial["config"] for trial in before]
    assert len(kept) == len({json.dumps(config) for config in kept})


def test_other_settings_of_the_run_stay(run_directory: Path) -> None:
    localrec("tune", "popularity", "--run", run_directory, "--trials", 2)

    document = json.loads((run_directory / SETTINGS).read_text())
    assert document["name"] == "ring"
    assert document["data"]["source"] == "table"


def test_an_unknown_baseline_is_refused_with_the_known_ones(run_directory: Path) -> None:
    answer = localrec("tune", "slim", "--run", run_directory)

    assert answer.exit_code == 2
    assert all(f"'{name.lower()}'" in answer.output for name in BASELINES)
