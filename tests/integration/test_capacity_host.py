"""``localrec capacity --host``: a gateway that runs already, its own metrics the source of what it used."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.gateway import RunningGateway

from localrec.capacity import capacity
from models.contract.errors import LocalRecError

pytestmark = pytest.mark.redis


def search(gateway: RunningGateway, redis_url: str, directory: Path, *arguments: str):
    (directory / "users.txt").write_text("u0\nu1\nu2\n")
    host, users = f"http://127.0.0.1:{gateway.port}", str(directory / "users.txt")
    return CliRunner().invoke(
        capacity,
        ["--host", host, "--users-file", users, "--redis", redis_url, "--deadline-ms", "2000", *arguments],
    )


def test_a_running_service_is_measured_by_its_metrics(gateway: RunningGateway, redis_url: str, tmp_path: Path):
    record = tmp_path / "capacity.json"
    quick = (
        "--step-seconds",
        "1",
        "--step-requests",
        "20",
        "--warm-up-seconds",
        "0.5",
        "--start",
        "20",
        "--most",
        "20",
    )
    outcome = search(gateway, redis_url, tmp_path, *quick, "--degraded-share", "1", "--json", str(record))
    assert outcome.exception is None, outcome.output
    metrics = json.loads(record.read_text())["metrics"]
    assert metrics["requests_per_second"] == 20.0
    assert metrics["gateway_cpu_ms"] > 0
    assert metrics["redis_cpu_ms"] > 0
    assert "machine_cpu_ms" not in metrics  # it may be another one
    assert gateway.metric("localrec_request_seconds_count") >= 30


def test_metrics_that_are_not_there_are_named(gateway: RunningGateway, redis_url: str, tmp_path: Path):
    quick = ("--step-seconds", "1", "--step-requests", "1", "--warm-up-seconds", "0.5", "--start", "5")
    worker = f"http://127.0.0.1:{gateway.port}/nowhere"
    outcome = search(gateway, redis_url, tmp_path, *quick, "--worker-metrics", worker)
    assert isinstance(outcome.exception, LocalRecError)
    assert "/nowhere: expected metrics" in str(outcome.exception)
