"""A whole service for a bundle on one machine: embedded Redis, a worker a model, one gateway."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from redis import Redis

from localrec.pointing import connect
from localrec.processes import free_port, server, wait_for_workers
from localrec.redis_server import redis_server
from models import pointer
from models.contract.bundle import Bundle
from models.contract.specs import Part
from models.publish import publish as publish_profiles

ROOT = Path(__file__).parents[1]
GATEWAY_CONFIG = ROOT / "deploy" / "gateway.toml"
WORKER_SECONDS = 900.0  # vLLM is installed on the way, the first time
GATEWAY_SECONDS = 180.0  # beside workers that start: 30 s were too few on a busy machine
ADAPTERS_SECONDS = 180.0
CPU_DEADLINE_MS = 10_000  # the longest that a gateway allows: 50 prompts take a CPU a second or two

WorkerKind = Literal["engine", "vllm"]
ENGINE_ALONE: frozenset[Part] = frozenset({"l2rec"})  # vLLM has no experts that a user's embedding routes


def worker_kinds(parts: Iterable[Part], workers: WorkerKind) -> dict[Part, WorkerKind]:
    """What serves each of a bundle's models where ``workers`` are wanted."""
    return {part: "engine" if part in ENGINE_ALONE else workers for part in parts}


@dataclass(frozen=True)
class Worker:
    """A worker that runs."""

    process: "subprocess.Popen[bytes]"
    port: int
    kind: WorkerKind


@dataclass(frozen=True)
class Stack:
    """Where the parts of a running service are. ``workers`` are by the model that they serve."""

    redis_url: str
    workers: Mapping[Part, Worker]
    gateway: "subprocess.Popen[bytes]"
    gateway_port: int

    @property
    def worker(self) -> "subprocess.Popen[bytes]":
        """The process that serves the local models."""
        return self.workers["local"].process

    @property
    def worker_port(self) -> int:
        """Where it listens."""
        return self.workers["local"].port


@contextmanager
def running_stack(
    bundle: Bundle,
    directory: Path,
    *,
    workers: WorkerKind = "engine",
    further: Mapping[Part, WorkerKind] = MappingProxyType({}),
    gateway_port: int | None = None,
    admin_port: int = 0,
    publish: Callable[[Bundle, Redis], object] = publish_profiles,
    environment: Mapping[str, str] = MappingProxyType({}),
    keep: bool = False,
) -> Iterator[Stack]:
    """Publish a bundle to a Redis of its own and serve it while the context lasts; begins when adapters are loaded.

    Args:
        bundle: what is served.
        directory: for Redis and the logs.
        workers: our engine, or vLLM, for the local models.
        further: the same for each of the bundle's further models that is served, in a pipeline of the model's name.
        gateway_port: default: a free one.
        admin_port: of the operators' endpoints; 0: there are none.
        publish: writes users' state; default: what the bundle holds of its users.
        environment: settings of the gateway beside those that follow from the rest.
        keep: Redis' data stay in ``directory`` and are there at the next start.
    """
    gateway_port = gateway_port or free_port()
    with ExitStack() as parts:
        redis_url = parts.enter_context(redis_server(directory, keep=keep))
        with connect(redis_url) as redis:
            publish(bundle, redis)
            pointer.activate(bundle.id, redis)
        kinds: dict[Part, WorkerKind] = {"local": workers, **further}
        running = {part: parts.enter_context(_worker(bundle, directory, kind, part)) for part, kind in kinds.items()}
        settings = gateway_environment(bundle, redis_url, {p: (w.port, w.kind) for p, w in running.items()})
        settings["LOCALREC_ADMIN__PORT"] = str(admin_port)
        log = directory / "gateway.log"
        gateway = parts.enter_context(running_gateway(gateway_port, {**settings, **environment}, log))
        yield Stack(redis_url, running, gateway, gateway_port)


@contextmanager
def _worker(bundle: Bundle, directory: Path, kind: WorkerKind, part: Part) -> Iterator[Worker]:
    port = free_port()
    with running_worker(bundle, directory, kind, port, part) as process:
        yield Worker(process, port, kind)


@contextmanager
def running_worker(
    bundle: Bundle, directory: Path, workers: WorkerKind, port: int, part: Part = "local"
) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker for one of a bundle's models while the context lasts. Its log is in ``directory``: ``worker.log`` of the
    local models, such as ``worker-collm.log`` of another one.
    """
    if workers == "vllm":
        command = [str(ROOT / "scripts" / "vllm"), str(bundle.directory)]
    else:
        command = [sys.executable, "-m", "localrec", "serve", "engine", "--bundle", str(bundle.directory)]
    command += ["--model", part, "--port", str(port)]
    log = directory / ("worker.log" if part == "local" else f"worker-{part}.log")
    with server(command, port, ready_path="/health", start_seconds=WORKER_SECONDS, log=log) as process:
        yield process


@contextmanager
def running_gateway(port: int, environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A gateway with the settings of deploy/ and the environment while the context lasts; begins with all adapters."""
    command = [sys.executable, "-m", "localrec", "serve", "gateway"]
    command += ["--config", str(GATEWAY_CONFIG), "--port", str(port)]
    with server(
        command, port, ready_path="/readyz", start_seconds=GATEWAY_SECONDS, environment=environment, log=log
    ) as process:
        wait_for_workers(port, ADAPTERS_SECONDS)
        yield process


def gateway_environment(
    bundle: Bundle, redis_url: str, workers: Mapping[Part, tuple[int, WorkerKind]]
) -> dict[str, str]:
    """What differs from deploy/gateway.toml: where Redis, bundles and workers are, and what the workers are.

    Args:
        bundle: beside it are the others.
        redis_url: of users' state.
        workers: port and kind by model; each further model has a pool and a pipeline of its name, and requests time
            for what it takes on a CPU.
    """
    pools = [
        {"name": part, "urls": [f"http://127.0.0.1:{port}"], "kind": kind, "model": part}
        for part, (port, kind) in workers.items()
    ]
    settings = {
        "LOCALREC_REDIS_URL": redis_url,
        "LOCALREC_BUNDLE_ROOT": str(bundle.directory.resolve().parent),
        "LOCALREC_POOLS": json.dumps(pools),
    }
    pipelines = {part: {"kind": part, "pool": part} for part in workers if part != "local"}
    if pipelines:
        settings["LOCALREC_PIPELINES"] = json.dumps(pipelines)
        settings["LOCALREC_DEFAULT_DEADLINE_MS"] = str(CPU_DEADLINE_MS)
    return settings
