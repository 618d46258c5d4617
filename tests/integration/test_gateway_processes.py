"""Several gateway processes on one port: what they count together, and what the death of one costs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.gateway import RunningGateway
from support.http import request
from support.load import Clients
from support.processes import free_port, wait_until

from models.contract.bundle import Bundle

N = 3


@contextmanager
def gateway_processes(
    directory: Path, bundle: Bundle, redis_url: str, more: str = "", count: int = N
) -> Iterator[tuple["subprocess.Popen[str]", RunningGateway]]:
    """Started by the command, from a file, on a free port; begins when all of them are ready."""
    config = directory / "gateway.toml"
    config.write_text(
        f'redis_url = "{redis_url}"\nbundle_root = "{bundle.directory.parent}"\nexposures_kept = 1000\n{more}'
    )
    gateway = RunningGateway(free_port())
    command = [sys.executable, "-m", "localrec", "serve", "gateway", "--config", str(config)]
    command += ["--port", str(gateway.port), "--processes", str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: process.poll() is not None or answering(gateway) == ready(gateway) == count, 90, "processes")
        yield process, gateway
    finally:
        for child in children(process):
            child.kill()
        process.kill()
        process.communicate()


def children(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The processes that serve."""
    try:
        found = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []
    return [child for child in found if "resource_tracker" not in " ".join(child.cmdline())]


def answering(gateway: RunningGateway) -> float:
    try:
        return gateway.metric('localrec_processes{state="answering"}')
    except OSError:
        return 0


def counts(gateway: RunningGateway) -> dict[str, float]:
    """Recommendations by process."""
    found: dict[str, float] = {}
    for family in parse_text(gateway.get("/metrics").body.decode()):
        for sample in family.samples:
            if sample.name == "localrec_request_seconds_count" and sample.labels["route"] == "/recommend":
                process = sample.labels["process"]
                found[process] = found.get(process, 0) + sample.value
    return found


def ready(gateway: RunningGateway) -> float:
    try:
        return gateway.metric("localrec_ready")
    except OSError:
        return 0


def test_any_process_answers_for_all_and_counts_add_up(published: Bundle, redis_url: str, tmp_path: Path):
    with gateway_processes(tmp_path, published, redis_url) as (process, gateway):
        for row in range(60):
            gateway.recommend(f"u{row % 8}")
        assert {sum(counts(gateway).values()) for _ in range(5)} == {60.0}
        assert set(counts(gateway)) <= {"0", "1", "2"}
        text = gateway.get("/metrics").body.decode()
        families = [line for line in text.splitlines() if line.startswith("# TYPE")]
        assert len(set(families)) == len(families)
        assert gateway.metric("localrec_bundle_info") == N
        accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
        reply = request(gateway.port, "GET", "/metrics", headers=accept)
        assert reply.headers["content-type"].startswith("application/openmetrics-text")
        samples = [s for family in parse_openmetrics(reply.body.decode()) for s in family.samples]
        assert any(s.exemplar for s in samples)
        assert {s.labels.get("process") for s in samples if s.name == "localrec_ready"} == {"0", "1", "2"}
        assert [s.labels for s in samples if s.name == "localrec_processes"] == [
            {"state": "answering"},
            {"state": "silent"},
        ]
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert "Traceback" not in log
    started = [json.loads(line) for line in log.splitlines() if "Application startup complete" in line]
    assert sorted(line["process"] for line in started) == [0, 1, 2]


def test_one_that_is_killed_starts_anew_in_its_place(published: Bundle, redis_url: str, tmp_path: Path):
    with gateway_processes(tmp_path, published, redis_url) as (process, gateway):
        victim = children(process)[1]
        os.kill(victim.pid, signal.SIGKILL)
        wait_until(lambda: answering(gateway) == N - 1, 5, "the scrape without it")
        assert gateway.metric('localrec_processes{state="silent"}') == 1
        gateway.recommend("u0")  # by those that are left
        wait_until(lambda: answering(gateway) == N, 30, "the next one")
        wait_until(lambda: ready(gateway) == N, 20, "all processes ready")
        stopped = children(process)[2]
        stopped.suspend()
        wait_until(lambda: answering(gateway) == N - 1, 10, "the scrape without one that is silent")
        stopped.resume()
        wait_until(lambda: answering(gateway) == N, 10, "its answer")
        assert victim.pid not in {child.pid for child in children(process)}
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert "gateway process 1 ended with exit code -9; the next one starts in 0.1 s" in log


def test_nothing_is_lost_when_all_of_them_stop(published: Bundle, redis_url: str, tmp_path: Path):
    with gateway_processes(tmp_path, published, redis_url) as (process, gateway):
        with Clients(gateway.port, fresh=12, kept=12) as clients:
            time.sleep(0.7)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log
    assert clients.lost == []
    assert len(clients.answered) > 50
    assert "Traceback" not in log


def test_they_end_when_their_supervisor_is_gone(published: Bundle, redis_url: str, tmp_path: Path):
    with gateway_processes(tmp_path, published, redis_url, count=2) as (process, gateway):
        orphans = children(process)
        assert len(orphans) == 2
        process.kill()
        wait_until(lambda: not any(alive(orphan) for orphan in orphans), 20, "the end of the orphans")
        with pytest.raises(OSError, match="refused"):
            gateway.get("/healthz")


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_second_service_on_the_port_is_one_line(published: Bundle, redis_url: str, tmp_path: Path):
    with gateway_processes(tmp_path, published, redis_url, count=2) as (_, gateway):
        command = [
            sys.executable,
            "-m",
            "localrec",
            "serve",
            "gateway",
            "--port",
            str(gateway.port),
            "--processes",
            "2",
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 1
    assert result.stderr == f"localrec: 127.0.0.1:{gateway.port}: Address already in use\n"


def test_what_no_process_can_start_with_ends_the_whole_with_its_line(tmp_path: Path):
    experiments = tmp_path / "experiments.toml"
    experiments.write_text("this is = no experiment\n")
    config = tmp_path / "gateway.toml"
    config.write_text(f'experiments_file = "{experiments}"\n')
    command = [sys.executable, "-m", "localrec", "serve", "gateway", "--config", str(config), "--port", "0"]
    result = subprocess.run([*command, "--processes", "2"], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"localrec: {experiments}")


def test_the_first_process_alone_serves_operators(published: Bundle, redis_url: str, tmp_path: Path):
    admin = free_port()
    with gateway_processes(tmp_path, published, redis_url, f"[admin]\nport = {admin}\n", 2) as (process, gateway):
        assert request(admin, "GET", "/admin/workers").status == 200
        assert 'localrec_processes{state="answering"} 2.0' in request(admin, "GET", "/metrics").body.decode()
        threads = [threading.Thread(target=gateway.recommend) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert log.count("operators' port") == 1
