"""``localrec bench gateway``: what the gateway itself costs.

Throughput of pipeline ``cf`` beside the bare FastAPI service of :mod:`localrec.bench.reference`, in one run and
alternating, so that the ratio does not hang on the machine. Then the stages of pipeline ``local`` before a stub worker
that takes a fixed time: what is above the slowest call is the gateway's own.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from localrec.bench.load import LoadResult, load
from localrec.bench.report import report
from localrec.bench.stages import ask, stage_metrics
from localrec.bench.synthetic import make_bundle, publish, users_of
from localrec.processes import free_port, get, post, server, wait_for_workers
from localrec.redis_server import redis_server
from models.contract.bundle import open_bundle

SAMPLED_REQUESTS = 200
STUB_SECONDS = 30.0  # until the stub worker has all adapters, at most
# numpy's pool of threads would fight with the other processes for the cores.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class GatewayBenchOptions:
    """What is measured.

    Args:
        n_items: catalogue size.
        n_users: users, drawn with ``seed``, asked for in turn.
        communities: of the bundle; half of them hold a user on average.
        connections: of the load, each with one request in flight.
        seconds: length of one round.
        rounds: pairs of rounds, reference and gateway in turn; the first pair is for warming up.
        worker_seconds: what the stub worker takes for a call.
        seed: of bundle and users.
    """

    n_items: int = 1_682
    n_users: int = 500
    communities: int = 10
    connections: int = 32
    seconds: float = 2.0
    rounds: int = 5
    worker_seconds: float = 0.01
    seed: int = 0


def run(options: GatewayBenchOptions) -> dict[str, Any]:
    """Measure, print a table, and return ``{"bench", "commit", "hardware", "metrics"}``."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lr-")))
        redis_url = stack.enter_context(redis_server(directory))
        bundle = _bundle(directory, redis_url, options)
        metrics = _throughput(redis_url, bundle, options) | _local(redis_url, bundle, options)
    return report("gateway", metrics)


def _bundle(directory: Path, redis_url: str, options: GatewayBenchOptions) -> Path:
    bundle = make_bundle(
        directory / "bundles",
        n_items=options.n_items,
        n_users=options.n_users,
        communities=options.communities,
        seed=options.seed,
        embedding_size=128,
    )
    publish(redis_url, bundle, users_of(bundle))
    return bundle.directory


def _throughput(redis_url: str, bundle: Path, options: GatewayBenchOptions) -> dict[str, float]:
    reference: list[LoadResult] = []
    gateway: list[LoadResult] = []
    with _reference(redis_url) as reference_port, _gateway(redis_url, bundle, None) as gateway_port:
        for _ in range(options.rounds):
            reference.append(_load(reference_port, options))
            gateway.append(_load(gateway_port, options))
        memory_bytes = _metric(gateway_port, "process_resident_memory_bytes")
        degraded = _metric(gateway_port, "localrec_degraded_total")
    ratios = [g.requests_per_second / r.requests_per_second for g, r in zip(gateway[1:], reference[1:], strict=True)]
    return {
        "reference_requests_per_second": float(np.median([r.requests_per_second for r in reference[1:]])),
        "cf_requests_per_second": float(np.median([r.requests_per_second for r in gateway[1:]])),
        "cf_over_reference": float(np.median(ratios)),
        "cf_p50_ms": float(np.median([r.percentile(50) for r in gateway[1:]])),
        "cf_p99_ms": float(np.median([r.percentile(99) for r in gateway[1:]])),
        "cf_degraded": degraded,
        "failures": float(sum(r.failures for r in reference + gateway)),
        "gateway_memory_mib": memory_bytes / 2**20,
    }


def _local(redis_url: str, bundle: Path, options: GatewayBenchOptions) -> dict[str, float]:
    """One request at a time, so that nothing but the request itself is on the clock."""
    worker_port = free_port()
    call = f"serve_stub({open_bundle(bundle).base_id!r}, {options.n_items}, {worker_port})"
    code = f"from localrec.bench.stub_worker import serve_stub; {call}"
    with _python_server(code, worker_port, "/health"), _gateway(redis_url, bundle, worker_port) as port:
        wait_for_workers(port, STUB_SECONDS)
        bodies = [ask(port, f"u{at % options.n_users}") for at in range(SAMPLED_REQUESTS)]
        post(worker_port, "/stub", {"delay_seconds": options.worker_seconds})  # their rankings are cached by now
        bodies = [ask(port, f"u{at % options.n_users}") for at in range(SAMPLED_REQUESTS)]
    metrics = stage_metrics(bodies)
    return metrics | {"local_above_worker_p50_ms": metrics["local_total_p50_ms"] - options.worker_seconds * 1e3}


def _load(port: int, options: GatewayBenchOptions) -> LoadResult:
    bodies = [json.dumps({"user_id": f"u{row}", "n": 10}).encode() for row in range(options.n_users)]
    return load(port, "/recommend", bodies, options.connections, options.seconds)


@contextmanager
def _reference(redis_url: str) -> Iterator[int]:
    port = free_port()
    code = f"from localrec.bench.reference import serve_reference; serve_reference({redis_url!r}, {port})"
    with _python_server(code, port, "/openapi.json"):
        yield port


@contextmanager
def _gateway(redis_url: str, bundle: Path, worker_port: int | None) -> Iterator[int]:
    """A gateway process: pipeline ``local`` where there is a worker, else ``cf``."""
    port = free_port()
    settings: dict[str, Any] = {"redis_url": redis_url, "bundle_root": str(bundle.parent), "default_deadline_ms": 1_000}
    settings["cache"] = {"ttl_ms": 0}  # what answers cost is measured
    if worker_port is not None:
        settings["pools"] = [{"name": "stub", "urls": [f"http://127.0.0.1:{worker_port}"]}]
        settings["pipelines"] = {"local": {"kind": "local", "pool": "stub"}}
        settings["default_pipeline"] = "local"
    code = (
        "from service.gateway.serve import serve; from service.gateway.settings import Settings; "
        f"serve(Settings(**{settings!r}), '127.0.0.1', {port})"
    )
    with _python_server(code, port, "/readyz"):
        yield port


def _python_server(code: str, port: int, ready_path: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    return server([sys.executable, "-c", code], port, ready_path=ready_path, environment=ONE_THREAD)


def _metric(port: int, name: str) -> float:
    """Sum of a metric's samples."""
    lines = get(port, "/metrics")[1].decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))
