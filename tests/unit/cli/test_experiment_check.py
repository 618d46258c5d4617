"""``localrec experiment check``: what a gateway would say of the file, before it says it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from localrec.cli import cli, main

CONFIG = """
default_pipeline = "local"
pools = [{name = "w", urls = ["http://a"]}]
pipelines.local = {kind = "local", pool = "w"}
pipelines.cf = {kind = "cf"}
"""
FILE = """
[holdout]
share = 0.1
[[layers]]
name = "ranking"
[[layers.experiments]]
name = "now"
coverage = 0.5
allowlist = {alice = "b"}
variants = [{name = "a", weight = 3}, {name = "b", weight = 1, pipeline = "cf", parameters = {deadline_ms = 50}}]
[[layers.experiments]]
name = "soon"
coverage = 0.25
offset = 0.5
starts = 2999-01-01T00:00:00Z
variants = [{name = "a", weight = 1}]
[[layers.experiments]]
name = "over"
coverage = 0.125
offset = 0.75
ends = 2020-01-01T12:30:00Z
variants = [{name = "a", weight = 1}]
[[layers.experiments]]
name = "off"
coverage = 0.125
offset = 0.875
enabled = false
variants = [{name = "a", weight = 1}]
[[shadows]]
name = "beside"
share = 0.2
pipeline = "cf"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    return path


def check(config: Path, text: str, *arguments: str) -> Result:
    path = config.with_name("experiments.toml")
    path.write_text(text)
    return CliRunner().invoke(cli, ["experiment", "check", str(path), "--config", str(config), *arguments])


def test_shares_and_states_are_printed(config: Path):
    answer = check(config, FILE)
    assert answer.exit_code == 0
    assert answer.output.splitlines() == [
        "holdout: 10.00% of all users, pipeline (default)",
        "layer ranking",
        "  now: running, buckets 0 to 4999",
        "    a: 33.75% of all users, pipeline (default), sets nothing",
        "    b: 11.25% of all users, pipeline cf, sets deadline_ms, pipeline",
        "  soon: scheduled for 2999-01-01 00:00 UTC, buckets 5000 to 7499",
        "    a: 22.50% of all users, pipeline (default), sets nothing",
        "  over: ended 2020-01-01 12:30 UTC, buckets 7500 to 8749",
        "    a: 11.25% of all users, pipeline (default), sets nothing",
        "  off: disabled, buckets 8750 to 9999",
        "    a: 11.25% of all users, pipeline (default), sets nothing",
        "shadow beside: 20.00% of requests, pipeline cf",
    ]


def test_users_are_assigned(config: Path):
    users = ("alice", *(f"u{number}" for number in range(40)))
    answer = check(config, FILE, *(flag for user in users for flag in ("--user", user)))
    lines = [line for line in answer.output.splitlines() if line.startswith("user ")]
    assert lines[0] == "user alice: now=b; pipeline cf, forced"
    assert {line.split(": ")[1] for line in lines[1:]} == {
        "now=a; pipeline local",
        "now=b; pipeline cf",
        "in no experiment; pipeline local",
        "held out; pipeline local",
    }


def test_the_kill_switch_is_said(config: Path):
    answer = check(config, f"kill_switch = true\n{FILE}", "--user", "alice")
    assert answer.output.splitlines()[0] == "kill switch: nobody takes part in anything"
    assert answer.output.splitlines()[-1] == "user alice: in no experiment; pipeline local"


def test_a_bad_file_is_one_line_and_exit_code_1(config: Path, capsys: pytest.CaptureFixture[str]):
    bad = config.with_name("bad.toml")
    bad.write_text(FILE.replace('pipeline = "cf"', 'pipeline = "gone"'))
    with pytest.raises(SystemExit) as ended:
        main(["experiment", "check", str(bad), "--config", str(config)])
    assert ended.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (f"localrec: {bad}: now.b.pipeline: 'gone' is not configured; expected one of local, cf\n")
