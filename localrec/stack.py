"""A whole service for a bundle on one machine: embedded Redis, one worker, one gateway. For demo and tests."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redis import Redis

from localrec.pointing import connect
from localrec.processes import free_port, server, wait_for_workers
from localrec.redis_server import redis_server
from models import pointer
from models.contract.bundle import Bundle
from models.publish import publish as publish_profiles

ROOT = Path(__file__).parents[1]
GATEWAY_CONFIG = ROOT / "deploy" / "gateway.toml"
WORKER_SECONDS = 900.0  # vLLM is installed on the way, the first time
ADAPTERS_SECONDS = 180.0

WorkerKind = Literal["engine", "vllm"]


@dataclass(frozen=True)
class Stack:
    """Where the parts of a running service are. ``worker`` and ``gateway`` are their processes."""

    redis_url: str
    worker: "subprocess.Popen[bytes]"
    gateway: "subprocess.Popen[bytes]"
    worker_port: int
    gateway_port: int


@contextmanager
def running_stack(
    bundle: Bundle,
    directory: Path,
    *,
    workers: WorkerKind = "engine",
    gateway_port: int | None = None,
    admin_port: int = 0,
    publish: Callable[[Bundle, Redis], object] = publish_profiles,
) -> Iterator[Stack]:
    """Publish a bundle to a Redis of its own and serve it while the context lasts; begins when adapters are loaded.

    Args:
        bundle: what is served.
        directory: for Redis and the logs.
        workers: our engine, or vLLM.
        gateway_port: default: a free one.
        admin_port: of the operators' endpoints; 0: there are none.
        publish: writes users' state; default: what the bundle holds of its users.
    """
    worker_port, gateway_port = free_port(), gateway_port or free_port()
    with ExitStack() as parts:
        redis_url = parts.enter_context(redis_server(directory))
        with connect(redis_url) as redis:
            publish(bundle, redis)
            pointer.activate(bundle.id, redis)
        worker = parts.enter_context(running_worker(bundle, directory, workers, worker_port))
        environment = gateway_environment(bundle, redis_url, worker_port, workers)
        environment["LOCALREC_ADMIN__PORT"] = str(admin_port)
        gateway = parts.enter_context(running_gateway(gateway_port, environment, directory / "gateway.log"))
        yield Stack(redis_url, worker, gateway, worker_port, gateway_port)


@contextmanager
def running_worker(
    bundle: Bundle, directory: Path, workers: WorkerKind, port: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker for a bundle while the context lasts. Its log is ``worker.log`` in ``directory``."""
    if workers == "vllm":
        command = [str(ROOT / "scripts" / "vllm"), str(bundle.directory), "--port", str(port)]
    else:
        command = [sys.executable, "-m", "localrec", "serve", "engine"]
        command += ["--bundle", str(bundle.directory), "--port", str(port)]
    log = directory / "worker.log"
    with server(command, port, ready_path="/health", start_seconds=WORKER_SECONDS, log=log) as process:
        yield process


@contextmanager
def running_gateway(port: int, environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A gateway with the settings of deploy/ and the environment while the context lasts; begins with all adapters."""
    command = [sys.executable, "-m", "localrec", "serve", "gateway"]
    command += ["--config", str(GATEWAY_CONFIG), "--port", str(port)]
    with server(command, port, ready_path="/readyz", environment=environment, log=log) as process:
        wait_for_workers(port, ADAPTERS_SECONDS)
        yield process


def gateway_environment(bundle: Bundle, redis_url: str, worker_port: int, workers: WorkerKind) -> dict[str, str]:
    """What differs from deploy/gateway.toml: where Redis, bundles and the worker are, and what the worker is."""
    pools = [{"name": "local", "urls": [f"http://127.0.0.1:{worker_port}"], "kind": workers}]
    return {
        "LOCALREC_REDIS_URL": redis_url,
        "LOCALREC_BUNDLE_ROOT": str(bundle.directory.resolve().parent),
        "LOCALREC_POOLS": json.dumps(pools),
    }
