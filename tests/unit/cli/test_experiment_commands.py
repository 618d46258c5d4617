"""``localrec experiment`` and ``localrec bench experiments``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from localrec.cli import cli
from models.contract.errors import ConfigError, DataError


def localrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("simulated")
    answer = localrec("experiment", "simulate", "--out", directory, "--users", 1_500, "--effect", 0.4)
    assert answer.exit_code == 0, answer.output
    assert "experiment: simulated" in answer.output
    return directory


def test_the_group_names_its_commands() -> None:
    text = localrec("experiment", "--help").output

    assert "report    Lift, intervals and guards of an experiment." in text
    assert "simulate  Data of an experiment with a known effect." in text


def test_a_simulated_effect_is_reported(data: Path, tmp_path: Path) -> None:
    record = tmp_path / "report.json"

    answer = localrec("experiment", "report", "simulated", "--data", data, "--json", record, "--out", tmp_path / "out")

    assert answer.exit_code == 0, answer.output
    assert "click-through  treatment" in answer.output
    rows = json.loads(record.read_text())["rows"]
    lift = next(row["comparison"]["lift"] for row in rows if row["metric"] == "click-through" and row["comparison"])
    assert lift["low"] < 0.4 < lift["high"]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"simulated.{suffix}" for suffix in ("json", "md", "png", "svg")]
    assert (tmp_path / "out" / "simulated.json").read_bytes() == record.read_bytes()


def test_flags_reach_the_report(data: Path, tmp_path: Path) -> None:
    record = tmp_path / "report.json"
    answer = localrec(
        *("experiment", "report", "simulated", "--data", data, "--json", record, "--control", "treatment"),
        *("--metric", "revenue", "--since", "2025-06-03", "--until", "2025-06-05", "--covariate-days", 0),
        *("--segment", "context.device", "--alpha", 0.1, "--mixture", 0.2, "--ratio", "control=1,treatment=1"),
    )

    assert answer.exit_code == 0, answer.output
    document = json.loads(record.read_text())
    assert document["control"] == "treatment"
    assert document["period"] == "2025-06-03 00:00 to 2025-06-05 00:00 UTC"
    assert (document["alpha"], document["mixture"], document["covariate_days"]) == (0.1, 0.2, 0)
    assert {row["metric"] for row in document["segments"]} == {"revenue"}


def test_weights_come_from_a_configuration(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "experiments.toml"
    variants = '[{name = "control", weight = 9}, {name = "treatment", weight = 1}]'
    config.write_text(f'[[experiments]]\nname = "simulated"\nvariants = {variants}\n')

    answer = localrec("experiment", "report", "simulated", "--data", data, "--config", config)

    assert answer.output.startswith("!! SAMPLE RATIO MISMATCH")


def test_errors_are_for_people(data: Path, tmp_path: Path) -> None:
    unknown = localrec("experiment", "report", "other", "--data", data)
    assert isinstance(unknown.exception, DataError)
    assert "known: simulated" in str(unknown.exception)
    nowhere = localrec("experiment", "report", "simulated", "--data", tmp_path / "none")
    assert "exposures.parquet not found" in str(nowhere.exception)
    ratio = localrec("experiment", "report", "simulated", "--data", data, "--ratio", "control")
    assert isinstance(ratio.exception, ConfigError)
    both = localrec("experiment", "report", "simulated", "--data", data, "--ratio", "a=1", "--config", "x.toml")
    assert both.exit_code == 2


def test_the_calibration_is_written(tmp_path: Path) -> None:
    out = tmp_path / "calibration"
    record = tmp_path / "record.json"

    answer = localrec(
        "bench", "experiments", "--experiments", 4, "--users", 300, "--looks", 3, "--out", out, "--json", record
    )

    assert answer.exit_code == 0, answer.output
    assert "click-through_false_peeking" in answer.output
    assert "| false positives, fixed test looked at again and again |" in out.with_suffix(".md").read_text()
    document = json.loads(out.with_suffix(".json").read_text())
    assert document["options"]["n_experiments"] == 4
    assert document["metrics"] == json.loads(record.read_text())["metrics"]


def test_a_simulation_does_not_replace_what_was_recorded(tmp_path: Path):
    (tmp_path / "state.json").write_text("{}")
    result = CliRunner().invoke(cli, ["experiment", "simulate", "--out", str(tmp_path), "--users", "20"])
    assert isinstance(result.exception, DataError)
    assert "holds an export" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
