"""The load test's command, as people call it: locust, before a real gateway and before servers that misbehave."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.answering import answering
from support.bundles import make_bundle, publish, users_of
from support.gateway import RunningGateway, running_gateway
from support.processes import free_port
from support.stub_worker import StubProcess, stub_process

from loadtests.plan import plan_of
from localrec.stack import ROOT
from service.gateway.settings import Settings

# It is not imported here: locust patches the sockets of its process.
pytestmark = pytest.mark.skipif(find_spec("locust") is None, reason="no locust: pip install 'localrec[loadtest]'")

SECONDS = 100.0  # of a run on a busy machine
LENIENT = ("--max-p99-ms", "5000", "--max-late-share", "1", "--min-achieved-share", "0.5", "--max-degraded-share", "1")


@pytest.fixture
def gateway(redis_url: str, tmp_path: Path) -> Iterator[tuple[RunningGateway, StubProcess]]:
    """A real gateway before a stub worker."""
    bundle = make_bundle(tmp_path / "bundles")
    publish(redis_url, bundle, users_of(bundle))
    (tmp_path / "users.txt").write_text("\n".join(users_of(bundle).ids))
    with stub_process(bundle.base_id, bundle.manifest.model.n_items) as stub:
        settings = Settings(
            redis_url=redis_url,
            bundle_root=bundle.directory.parent,
            bundle_poll_ms=50,
            default_deadline_ms=2_000,
            redis_timeout_ms=1_000,
            default_pipeline="local",
            pools=[{"name": "local", "urls": [stub.url], "probe_interval_ms": 50}],
            pipelines={"local": {"kind": "local", "pool": "local"}},
        )
        with running_gateway(settings) as running:
            running.wait_ready()
            yield running, stub


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    file = tmp_path / "users.txt"
    if not file.exists():
        file.write_text("\n".join(f"u{number}" for number in range(20)))
    return file


def loadtest(port: int, users_file: Path, *arguments: str, profile: str = "steady") -> tuple[int, str, Any]:
    """Exit code, output, and report of a run."""
    out = users_file.parent / "out"
    host = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "loadtests", "--profile", profile, "--host", host, "--out", str(out)]
    command += ["--users-file", str(users_file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, check=False)
    report = out / f"{profile}.json"
    return done.returncode, done.stdout + done.stderr, json.loads(report.read_text()) if report.exists() else None


@pytest.mark.redis
def test_a_steady_run_passes_and_its_report_has_both_sides(
    gateway: tuple[RunningGateway, StubProcess], users_file: Path
):
    code, output, report = loadtest(gateway[0].port, users_file, *LENIENT, "--duration", "5", "--rate", "40")
    assert code == 0, output
    assert output.splitlines()[-2] == "passed"
    assert report["passed"]
    summary = report["summary"]
    assert summary["requests"] == summary["wanted"] > 150
    assert [group["pipeline"] for group in summary["groups"]] == ["local"]
    (beside,) = summary["beside"]
    assert beside["client_requests"] == beside["server_requests"] == summary["requests"]
    assert beside["server_ms"]["p50"] > 0
    assert "<svg" in (users_file.parent / "out" / "steady.html").read_text()


@pytest.mark.redis
def test_what_events_say_is_in_the_next_list(gateway: tuple[RunningGateway, StubProcess], users_file: Path):
    code, output, report = loadtest(
        gateway[0].port, users_file, *LENIENT, "--duration", "2", "--rate", "50", profile="events"
    )
    assert code == 0, output
    summary = report["summary"]
    assert summary["requests"] > summary["wanted"]  # checks bring requests of their own
    assert {row["route"] for row in summary["beside"]} == {"/recommend", "/events"}


@pytest.mark.redis
def test_a_service_whose_workers_are_gone_fails_by_its_degraded_answers(
    gateway: tuple[RunningGateway, StubProcess], users_file: Path
):
    running, stub = gateway
    stub.kill()
    arguments = (*LENIENT[:-1], "0.05", "--duration", "2", "--rate", "20")
    code, output, report = loadtest(running.port, users_file, *arguments)
    assert code == 1, output
    assert [check["what"] for check in report["checks"] if check["holds"] is False] == ["degraded answers"]


def test_a_service_that_answers_with_errors_fails(users_file: Path):
    with answering(status=500) as server:
        code, output, report = loadtest(server.port, users_file, *LENIENT, "--duration", "1", "--rate", "20")
    assert code == 1, output
    assert report["summary"]["outcomes"] == {"internal": report["summary"]["requests"]}
    assert "FAILED" in output


def test_a_stall_counts_for_all_who_came_meanwhile(users_file: Path):
    """A client that waits for its answers would have one slow request; a third of these are due while nobody answers,
    and wait for the only connection.
    """
    arguments = ("--duration", "3", "--rate", "40", "--arrivals", "constant", "--connections", "1")
    with answering(stall_after_seconds=1.0, stall_seconds=1.0) as server:
        code, output, report = loadtest(server.port, users_file, *LENIENT, *arguments, "--max-p99-ms", "500")
    assert code == 1, output
    client_ms = report["summary"]["client_ms"]
    assert client_ms["p99"] > 800
    assert client_ms["p90"] > 500
    assert [check["what"] for check in report["checks"] if check["holds"] is False] == ["p99 from when it was due"]


def users_of_plan(users_file: Path) -> list[str]:
    """Whose lists the plan of the last run asks for."""
    plan = plan_of((users_file.parent / "out" / "plan.json").read_bytes())
    bodies = [plan.traffic.request(number).body for number, _ in enumerate(plan.times())]
    return [json.loads(body)["user_id"] for body in bodies]


SHORT = (*LENIENT, "--duration", "2", "--rate", "30")


def test_processes_share_the_requests_of_one_stream(users_file: Path):
    with answering() as server:
        code, output, report = loadtest(
            server.port, users_file, *SHORT, "--processes", "2", "--master-port", str(free_port())
        )
    assert code == 0, output
    assert report["summary"]["requests"] == report["summary"]["wanted"]
    assert sorted(server.user_ids) == sorted(users_of_plan(users_file))


def test_a_master_waits_for_its_workers(users_file: Path):
    port = str(free_port())
    command = [sys.executable, "-m", "loadtests", "--worker", "--master-port", port]
    workers = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        with answering() as server:
            code, output, _ = loadtest(server.port, users_file, *SHORT, "--expect-workers", "2", "--master-port", port)
        assert code == 0, output
        assert sorted(server.user_ids) == sorted(users_of_plan(users_file))
        assert [worker.wait(20) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing runs at"),
        (("--users-file", "none.txt"), "users file none.txt"),
        (("--host", "http://example.org"), "--allow-remote"),
        (("--rate", "0"), "--rate"),
        (("--profile", "stormy"), "stormy"),
    ],
)
def test_what_cannot_start_says_why(arguments: tuple[str, ...], message: str, users_file: Path):
    with answering() as server:
        port = free_port() if not arguments else server.port
        code, output, report = loadtest(port, users_file, *arguments)
    assert (code, report) == (2, None)
    assert message in output
