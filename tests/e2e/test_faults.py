"""Redis, engine and gateway fail under load, as real processes: ``localrec bench faults``, shortened."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from localrec.cli import cli

PHASES = [
    "no fault",
    "Redis killed",
    "Redis stopped",
    "engine killed",
    "engine stopped",
    "bundle switch",
    "bundle rollback",
    "gateway SIGTERM",
    "engine slow",
    "engine says garbage",
]


@pytest.mark.slow
def test_nothing_is_lost_and_no_list_is_wrong(tmp_path: Path):
    record = tmp_path / "faults.json"
    done = CliRunner().invoke(cli, ["bench", "faults", "--seconds", "1.5", "--rate", "30", "--json", str(record)])
    assert done.exit_code == 0, (done.output, done.exception)
    phases = json.loads(record.read_text())["phases"]
    assert list(phases) == PHASES
    for name in ("Redis killed", "Redis stopped", "engine killed", "engine says garbage"):
        assert phases[name]["degraded"] > 0, name  # else the fault did not happen
    assert phases["Redis stopped"]["reasons"]["redis_unavailable"] > 0
    assert phases["engine says garbage"]["reasons"]["worker_invalid"] > 0
    assert phases["no fault"]["degraded"] == phases["bundle switch"]["degraded"] == 0
