"""The engine behind HTTP, under load, beside stock vLLM on the same machine, and while adapters are loaded."""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from localrec.bench.load import LoadResult, load
from localrec.bench.random_model import Shape, random_bundle
from localrec.processes import free_port, post, server
from localrec.stack import ROOT, WorkerKind
from models.contract.bundle import Bundle, community_adapter
from models.contract.errors import LocalRecError
from models.contract.prompts import load_prompts
from models.contract.types import item_numbers
from service.wire import FANOUT_PATH

COMPLETIONS_PATH = "/v1/completions"
START_SECONDS = 300.0
N_BEST = 100
HISTORY = 20  # items
USERS = 200
LOADING_SECONDS = 0.25  # between two loads of an adapter


@dataclass(frozen=True)
class ServedOptions:
    """How the load is made.

    Args:
        n_items: size of the catalogue.
        seconds: length of one round; a shorter one warms up.
        connections: of the engine's load, each with one request in flight.
        adapters: that one request asks.
        dtype: of engine and vLLM.
        seed: of models and histories.
    """

    n_items: int = 12_000
    seconds: float = 8.0
    connections: int = 16
    adapters: int = 9
    dtype: str = "float32"
    seed: int = 0


def http(root: Path, options: ServedOptions) -> dict[str, float]:
    """Requests per second (default; three layers, adapters in all, in the last), and latency at half of that."""
    metrics: dict[str, float] = {}
    names = {"default": (1, 1), "3_layers": (3, 3), "last_layer": (3, 1)}
    if torch.cuda.is_available():
        names = {f"{name}_on_gpu": layers for name, layers in names.items()}
    for name, (layers, adapted) in names.items():
        bundle = _bundle(root, Shape(options.n_items, layers=layers, adapted_layers=adapted), options)
        with worker("engine", bundle, options) as port:
            full = _fanout_load(port, bundle, options)
            half = _fanout_load(port, bundle, options, rate=full.requests_per_second / 2)
        _refuse_failures(full, half)
        metrics |= {
            f"http_{name}_requests_per_second": full.requests_per_second,
            f"http_{name}_p50_ms": full.percentile(50),
            f"http_{name}_p99_ms": full.percentile(99),
            f"http_{name}_p50_at_half_ms": half.percentile(50),
            f"http_{name}_p99_at_half_ms": half.percentile(99),
        }
    return metrics


def against_vllm(root: Path, options: ServedOptions) -> dict[str, float]:
    """Throughput of nine-adapter requests: one fan-out at the engine, nine completions at vLLM.

    vLLM's completions go out one after the other on so many connections, whichever request they belong to: it is
    spared waiting for the slowest of nine.
    """
    metrics: dict[str, float] = {}
    for suffix, shape in (
        ("", Shape(options.n_items)),
        ("_3_layers", Shape(options.n_items, layers=3, adapted_layers=3)),
    ):
        bundle = _bundle(root, shape, options)
        with worker("engine", bundle, options) as port:
            engine = _fanout_load(port, bundle, options)
        with worker("vllm", bundle, options) as port:
            calls = _completion_load(port, bundle, options)
        _refuse_failures(engine, calls)
        vllm = calls.requests_per_second / options.adapters
        metrics |= {
            f"engine_requests_per_second{suffix}": engine.requests_per_second,
            f"vllm_requests_per_second{suffix}": vllm,
            f"engine_over_vllm{suffix}": engine.requests_per_second / vllm,
        }
    return metrics


def while_loading(root: Path, options: ServedOptions) -> dict[str, float]:
    """Latency at half of the load that the engine can take, with and without adapters of another bundle coming."""
    bundle = _bundle(root, Shape(options.n_items), options)
    other = _bundle(root, Shape(options.n_items), options, version=1)
    with worker("engine", bundle, options) as port:
        rate = _fanout_load(port, bundle, options).requests_per_second / 2
        quiet = _fanout_load(port, bundle, options, rate)
        with _loading(port, other, options) as loads:
            busy = _fanout_load(port, bundle, options, rate)
    return {
        "p99_quiet_ms": quiet.percentile(99),
        "p99_while_loading_ms": busy.percentile(99),
        "p99_while_loading_over_quiet": busy.percentile(99) / quiet.percentile(99),
        "failures_while_loading": float(busy.failures + busy.refused),
        "loads": float(len(loads)),
    }


def _bundle(root: Path, shape: Shape, options: ServedOptions, version: int = 0) -> Bundle:
    name = f"fanout-{shape.layers}-{shape.adapted_layers}"
    return random_bundle(root, shape, name=name, communities=options.adapters, seed=options.seed, version=version)


@contextmanager
def worker(
    kind: WorkerKind, bundle: Bundle, options: ServedOptions, adapters: Sequence[str] | None = None
) -> Iterator[int]:
    """The port of a worker with these adapters loaded; default: those that a request asks."""
    port = free_port()
    command = {
        "engine": [sys.executable, "-m", "localrec", "serve", "engine", "--bundle", str(bundle.directory)],
        "vllm": [str(ROOT / "scripts" / "vllm"), str(bundle.directory)],
    }[kind]
    command += ["--port", str(port), "--dtype", options.dtype]
    log = bundle.directory.parent / f"{kind}.log"
    with server(command, port, ready_path="/health", start_seconds=START_SECONDS, log=log):
        for adapter in _adapters(options) if adapters is None else adapters:
            _load_adapter(port, bundle, adapter)
        yield port


def _adapters(options: ServedOptions) -> list[str]:
    return [community_adapter(number) for number in range(options.adapters)]


def _load_adapter(port: int, bundle: Bundle, adapter: str) -> None:
    body = {"lora_name": bundle.adapter_name(adapter), "lora_path": str(bundle.adapter_path(adapter))}
    status, answer = post(port, "/v1/load_lora_adapter", body)
    if status != 200:
        raise LocalRecError(f"{adapter}: not loaded: status {status}: {answer[:200]!r}")


def _fanout_load(port: int, bundle: Bundle, options: ServedOptions, rate: float | None = None) -> LoadResult:
    models = [bundle.adapter_name(adapter) for adapter in _adapters(options)]
    bodies = [
        json.dumps({"models": models, "prompt": prompt, "n": N_BEST}).encode() for prompt in _prompts(bundle, options)
    ]
    load(port, FANOUT_PATH, bodies, options.connections, options.seconds / 4)
    return load(port, FANOUT_PATH, bodies, options.connections, options.seconds, rate)


def _completion_load(port: int, bundle: Bundle, options: ServedOptions) -> LoadResult:
    shared = {"max_tokens": 1, "temperature": 0, "logprobs": N_BEST, "return_tokens_as_token_ids": True}
    bodies = [
        json.dumps(shared | {"model": bundle.adapter_name(adapter), "prompt": prompt}).encode()
        for prompt in _prompts(bundle, options)
        for adapter in _adapters(options)
    ]
    connections = options.connections * options.adapters
    load(port, COMPLETIONS_PATH, bodies, connections, options.seconds / 2)
    return load(port, COMPLETIONS_PATH, bodies, connections, options.seconds)


def _prompts(bundle: Bundle, options: ServedOptions) -> Sequence[list[int]]:
    rng, prompts = np.random.default_rng(options.seed), load_prompts(bundle)
    drawn = [item_numbers(rng.choice(options.n_items, HISTORY, replace=False)) for _ in range(USERS)]
    return [prompts.prompt(history) for history in drawn]


@contextmanager
def _loading(port: int, bundle: Bundle, options: ServedOptions) -> Iterator[list[str]]:
    """All adapters of a bundle are loaded, then unloaded, again and again while the context lasts.

    Gives what was loaded. Raises LocalRecError where a load failed, or none was made.
    """
    done, loads = threading.Event(), list[str]()

    def work() -> None:
        while True:
            for adapter in _adapters(options):
                _load_adapter(port, bundle, adapter)
                loads.append(adapter)
                if done.wait(LOADING_SECONDS):
                    return
            for adapter in _adapters(options):
                post(port, "/v1/unload_lora_adapter", {"lora_name": bundle.adapter_name(adapter)})

    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(work)
        try:
            yield loads
        finally:
            done.set()
        loading.result()
    if not loads:
        raise LocalRecError("nothing was loaded: nothing was measured")


def _refuse_failures(*results: LoadResult) -> None:
    """Raise LocalRecError where an answer was not 200: a rate of refusals is no rate."""
    if failures := [result.failures + result.refused for result in results if result.failures + result.refused]:
        raise LocalRecError(f"failed requests: {failures}")
