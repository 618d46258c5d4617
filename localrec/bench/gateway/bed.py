"""The test bed: Redis and a bundle, and the processes that are measured before it.

With two cores or more, what is measured has one to itself, and Redis, stub worker and load share the others: their work
is not the gateway's, whose rate one core bounds.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from localrec.bench.gateway.options import GatewayBenchOptions
from localrec.bench.load import LoadResult, load
from localrec.bench.synthetic import make_bundle, publish, users_of
from localrec.processes import free_port, get, server, wait_for_workers
from localrec.redis_server import redis_server
from models.contract.affinity import affinities
from models.contract.bundle import COMMUNITIES, Bundle
from service.workers.types import WorkerKind

STUB_SECONDS = 30.0  # until the stub worker has all adapters, at most
# numpy's pool of threads would fight with the other processes for the cores.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Bed:
    """What all measurements share. ``core`` is that of the measured process; None: there is one only."""

    options: GatewayBenchOptions
    redis_url: str
    bundle: Bundle
    users: tuple[str, ...]
    core: int | None

    def bodies(self, users: Sequence[str] | None = None, **fields: Any) -> list[bytes]:
        """Requests for these users, or for all."""
        chosen = self.users if users is None else users
        return [json.dumps({"user_id": user, "n": 10} | fields).encode() for user in chosen]

    def closed(self, port: int, bodies: Sequence[bytes], seconds: float | None = None) -> LoadResult:
        """Each connection sends when its last answer is in."""
        options = self.options
        return load(port, "/recommend", bodies, options.connections, seconds or options.seconds)

    def open(self, port: int, bodies: Sequence[bytes], rate: float, seconds: float | None = None) -> LoadResult:
        """Requests are sent when they are due."""
        options = self.options
        return load(port, "/recommend", bodies, options.open_connections, seconds or options.seconds, rate)

    @contextmanager
    def reference(self) -> Iterator[int]:
        """The port of the yardstick."""
        port = free_port()
        code = f"from localrec.bench.reference import serve_reference; serve_reference({self.redis_url!r}, {port})"
        with self._measured(code, port, "/openapi.json"):
            yield port

    @contextmanager
    def gateway(self, settings: dict[str, Any] | None = None) -> Iterator[int]:
        """The port of a gateway; pipeline ``cf`` unless the settings say otherwise."""
        port = free_port()
        shared = {
            "redis_url": self.redis_url,
            "bundle_root": str(self.bundle.directory.parent),
            "default_deadline_ms": self.options.deadline_ms,
        }
        code = (
            "from service.gateway.serve import serve; from service.gateway.settings import Settings; "
            f"serve(Settings(**{shared | (settings or {})!r}), '127.0.0.1', {port})"
        )
        with self._measured(code, port, "/readyz"):
            yield port

    @contextmanager
    def local(self, kind: WorkerKind) -> Iterator[tuple[int, int]]:
        """The ports of a gateway with pipeline ``local`` and of its stub worker, all adapters loaded."""
        options, worker_port = self.options, free_port()
        call = f"serve_stub({self.bundle.base_id!r}, {options.n_items}, {worker_port})"
        settings = {
            "pools": [{"name": "stub", "urls": [f"http://127.0.0.1:{worker_port}"], "kind": kind}],
            "pipelines": {"local": {"kind": "local", "pool": "stub", "max_communities": options.voters}},
            "default_pipeline": "local",
        }
        if kind == "vllm":  # a call an adapter: the limit on calls must not be what is measured
            settings["pools"][0]["in_flight_limit"] = 10_000  # type: ignore[index] # of mixed values
        with (
            _python_server(f"from localrec.bench.stub_worker import serve_stub; {call}", worker_port, "/health"),
            self.gateway(settings) as port,
        ):
            wait_for_workers(port, STUB_SECONDS)
            yield port, worker_port

    def _measured(self, code: str, port: int, ready_path: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        pin = "" if self.core is None else f"import os; os.sched_setaffinity(0, {{{self.core}}}); "
        return _python_server(pin + code, port, ready_path)


@contextmanager
def standing_bed(options: GatewayBenchOptions) -> Iterator[Bed]:
    """A bed while the context lasts. This process and its children leave one core to what is measured."""
    with (
        tempfile.TemporaryDirectory(prefix="lr-") as directory,
        _core_apart() as core,
        redis_server(Path(directory)) as redis_url,
    ):
        bundle = make_bundle(
            Path(directory) / "bundles",
            n_items=options.n_items,
            n_users=options.n_users,
            communities=options.communities,
            seed=options.seed,
            embedding_size=128,
        )
        users = users_of(bundle)
        publish(redis_url, bundle, users)
        asked = members_of(bundle, users.embeddings, options.voters)
        yield Bed(options, redis_url, bundle, tuple(users.ids[row] for row in asked), core)


def members_of(bundle: Bundle, embeddings: Any, least: int) -> list[int]:
    """Rows of the users who belong to at least so many communities."""
    manifest, anchors = bundle.manifest, load_file(bundle.path(COMMUNITIES))["anchors"]
    weights = affinities(anchors, embeddings, manifest.bandwidth, manifest.kernel)
    found: list[int] = np.flatnonzero((weights > 0).sum(axis=1) >= least).tolist()
    return found


def metric(port: int, name: str) -> float:
    """Sum of a metric's samples."""
    lines = get(port, "/metrics")[1].decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@contextmanager
def _core_apart() -> Iterator[int | None]:
    """The core for what is measured; this process keeps to the others meanwhile."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        yield None
        return
    core = min(allowed)
    os.sched_setaffinity(0, allowed - {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)


def _python_server(code: str, port: int, ready_path: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    return server([sys.executable, "-c", code], port, ready_path=ready_path, environment=ONE_THREAD)
