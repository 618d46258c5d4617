"""The gateway as a process of its own: what it imports, how much memory it takes, how it stops."""

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
from support.gateway import RunningGateway
from support.http import request
from support.load import Clients
from support.processes import free_port, wait_until
from support.stub_worker import StubProcess

from models.contract.bundle import Bundle

MAX_BYTES = 400 * 2**20
FORBIDDEN = ("torch", "transformers", "peft", "vllm", "polars", "models.llm", "models.data", "service.engine")
SERVE = """
import sys
from pathlib import Path
from service.gateway.serve import serve
from service.gateway.settings import load_settings
serve(load_settings(Path(sys.argv[1])), "127.0.0.1", int(sys.argv[2]))
print(",".join(sorted(sys.modules)))
"""


@contextmanager
def gateway_process(
    directory: Path, bundle: Bundle, redis_url: str, url: str, more: str = ""
) -> Iterator[tuple[subprocess.Popen, int]]:
    """A gateway started from a file, on a free port."""
    config = directory / "gateway.toml"
    config.write_text(
        f'redis_url = "{redis_url}"\nbundle_root = "{bundle.directory.parent}"\ndefault_pipeline = "local"\n'
        f"default_deadline_ms = 2000\n[cache]\nttl_ms = 0\n"
        f'[[pools]]\nname = "w"\nurls = ["{url}"]\nprobe_interval_ms = 50\n'
        f'[pipelines.local]\nkind = "local"\npool = "w"\n{more}'
    )
    port = free_port()
    command = [sys.executable, "-c", SERVE, str(config), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: _ready(port), 20, "gateway process")
        yield process, port
    finally:
        process.kill()
        process.communicate()


def _ready(port: int) -> bool:
    try:
        reply = request(port, "GET", "/readyz")
    except OSError:
        return False
    return reply.status == 200 and reply.json["warnings"] == []


def test_serves_small_without_torch_and_stops_in_order(
    published: Bundle, stub: StubProcess, redis_url: str, tmp_path: Path
):
    with gateway_process(tmp_path, published, redis_url, stub.url) as (process, port):
        gateway = RunningGateway(port)
        for row in range(50):
            gateway.recommend(f"u{row}")
        assert psutil.Process(process.pid).memory_info().rss < MAX_BYTES
        stub.order(delay_seconds=0.5)
        bodies: list = []
        batch = {"requests": [{"user_id": f"u{row}"} for row in range(3)]}
        threads = [
            threading.Thread(target=lambda: bodies.append(gateway.recommend("u0"))),
            threading.Thread(
                target=lambda: bodies.extend(request(port, "POST", "/recommend/batch", batch).json["responses"])
            ),
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: gateway.metric("localrec_requests_in_flight") == 4)
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=15)
        for thread in threads:
            thread.join()
    assert process.returncode == 0, log
    assert [body["degraded"] for body in bodies] == [False] * 4  # what was in flight was finished
    assert "Traceback" not in log
    modules = output.strip().splitlines()[-1].split(",")
    assert not [name for name in modules if name.startswith(FORBIDDEN)]
    assert "service.gateway.app" in modules


def test_operators_see_the_drain_and_are_drained_last(
    published: Bundle, stub: StubProcess, redis_url: str, tmp_path: Path
):
    admin = free_port()
    more = f"[admin]\nport = {admin}\n[http]\ndrain_s = 0\n"
    with gateway_process(tmp_path, published, redis_url, stub.url, more) as (process, port):
        gateway = RunningGateway(port)
        stub.order(delay_seconds=1.0)
        bodies: list = []
        last = threading.Thread(target=lambda: bodies.append(gateway.recommend("u0")))
        last.start()
        wait_until(lambda: gateway.metric("localrec_requests_in_flight") == 1)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(port))
        assert request(admin, "GET", "/admin/workers").status == 200
        assert request(admin, "GET", "/readyz").json["reasons"] == ["process: was told to stop"]
        _, log = process.communicate(timeout=15)
        last.join()
        assert not listens(admin)
    assert (process.returncode, bodies[0]["degraded"]) == (0, False), log
    assert f"operators' port: 127.0.0.1:{admin}" in log
    assert "Traceback" not in log


def listens(port: int) -> bool:
    try:
        request(port, "GET", "/healthz")
    except OSError:
        return False
    return True


@pytest.mark.parametrize("drain_seconds", [0.0, 1.0])
def test_nothing_that_was_sent_is_lost_when_it_stops(
    published: Bundle, stub: StubProcess, redis_url: str, tmp_path: Path, drain_seconds: float
):
    """Clients go on for as long as they are let in. Without a drain, who keeps a connection may write into its end."""
    more = f"[http]\ndrain_s = {drain_seconds}\n"
    with gateway_process(tmp_path, published, redis_url, stub.url, more) as (process, port):
        with Clients(port, fresh=24, kept=24 if drain_seconds else 0) as clients:
            time.sleep(1.0)
            process.send_signal(signal.SIGTERM)
            told = time.monotonic()
            wait_until(lambda: request(port, "GET", "/readyz").status == 503, 0.5) if drain_seconds else None
            _, log = process.communicate(timeout=15)
        assert process.returncode == 0, log
    assert clients.lost == []
    assert len(clients.answered) > 200
    late = [answer for answer in clients.answered if answer.sent_at > told + 0.2]
    assert bool(late) == bool(drain_seconds)
    assert all(answer.closes for answer in late)
