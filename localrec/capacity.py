"""``localrec capacity``: how much a service carries, and what limits it first."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import click
import polars as pl

from localrec.bench.capacity.run import SearchOptions, bodies, run
from localrec.bench.capacity.steps import Bench, Level, StepOptions
from localrec.bench.capacity.usage import Service, service_of
from localrec.bench.users import read_user_ids
from localrec.stack import running_stack
from models.contract.bundle import PROFILES, verify_bundle
from models.contract.errors import LocalRecError

SHARE = click.FloatRange(0, 1)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False, exists=True), required=False)
@click.option(
    "--workers", type=click.Choice(["engine", "vllm"]), default="engine", show_default=True, help="Of BUNDLE."
)
@click.option("--host", help="Measure the service at this base URL instead of one that is started for BUNDLE.")
@click.option(
    "--users-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Of --host: one user id a line, the most active first.",
)
@click.option("--worker-metrics", multiple=True, help="Of --host: URL of a worker's /metrics; again for more.")
@click.option("--redis", "redis_url", help="Of --host: URL of its Redis.")
@click.option("--deadline-ms", type=click.IntRange(1, 10_000), default=200, show_default=True, help="p99 at most.")
@click.option("--error-share", type=SHARE, default=0.001, show_default=True, help="Requests without a list, at most.")
@click.option("--degraded-share", type=SHARE, default=0.01, show_default=True, help="Degraded lists, at most.")
@click.option("--cache", is_flag=True, help="Let the result cache answer. Default: every list is made.")
@click.option("--start", type=click.FloatRange(0.1), default=20.0, show_default=True, help="First rate, requests/s.")
@click.option("--most", type=click.FloatRange(1), default=20_000.0, show_default=True, help="Highest rate, requests/s.")
@click.option(
    "--precision", type=click.FloatRange(0.01, 1), default=0.1, show_default=True, help="Of the result, as a share."
)
@click.option("--step-seconds", type=click.FloatRange(1), default=10.0, show_default=True, help="Of a rate, at least.")
@click.option("--step-requests", type=click.IntRange(1), default=500, show_default=True, help="Of a rate, at least.")
@click.option("--warm-up-seconds", type=click.FloatRange(0.5), default=3.0, show_default=True, help="Before each rate.")
@click.option("--tries", type=click.IntRange(1), default=2, show_default=True, help="A rate fails after so many.")
@click.option("--seed", default=0, show_default=True, help="Of users and times.")
@click.option(
    "--resume", type=click.Path(path_type=Path, dir_okay=False), help="Keep the steps here, and go on from them."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the record to this file.")
def capacity(
    bundle: Path | None,
    workers: Literal["engine", "vllm"],
    host: str | None,
    users_file: Path | None,
    worker_metrics: tuple[str, ...],
    redis_url: str | None,
    deadline_ms: int,
    error_share: float,
    degraded_share: float,
    cache: bool,
    start: float,
    most: float,
    precision: float,
    step_seconds: float,
    step_requests: int,
    warm_up_seconds: float,
    tries: int,
    seed: int,
    resume: Path | None,
    json_file: Path | None,
) -> None:
    """Find the highest rate that keeps the service level: a service started for BUNDLE on this machine, or --host's.

    Requests are due at random times at a rate, whatever became of those before (open loop), and latency counts from
    when they were due. The rate is doubled until it fails, then bisected. Printed are the rate, requests/s per core and
    GPU, what a request costs in each part, and what limits first. --host's CPU times are those of its metrics.
    """
    if (bundle is None) == (host is None):
        raise LocalRecError("capacity: expected a BUNDLE or --host, one of both")
    level = Level(deadline_ms, error_share, degraded_share)
    cores = len(os.sched_getaffinity(0))
    options = StepOptions(step_seconds, step_requests, warm_up_seconds, tries=tries, cores=cores, seed=seed)
    search = SearchOptions(start, min(1.0, start), most, precision)
    subject: dict[str, Any] = {"cache": cache, "search": asdict(search)}
    if bundle is not None:
        bed = _started(bundle, workers)
        subject |= {"bundle": bundle.resolve().name, "workers": workers}
    else:
        bed = _running(str(host), users_file, worker_metrics, redis_url)
        subject |= {"host": host}
    with bed as (service, (name, port), user_ids):
        asked = bodies(user_ids, deadline_ms=deadline_ms, use_cache=cache, seed=seed)
        record = run(Bench(service, name, port, asked), level, options, search, subject=subject, resume=resume)
    if json_file is not None:
        json_file.write_text(json.dumps(record, indent=2) + "\n")


Bed = tuple[Service, tuple[str, int], list[str]]


@contextmanager
def _started(directory: Path, workers: Literal["engine", "vllm"]) -> Iterator[Bed]:
    """A whole service for a bundle, while the context lasts."""
    bundle = verify_bundle(directory)
    user_ids = pl.read_parquet(bundle.path(PROFILES), columns=["user_id"])["user_id"].to_list()
    with (
        tempfile.TemporaryDirectory(prefix="lr-") as temporary,
        running_stack(bundle, Path(temporary), workers=workers) as stack,
    ):
        yield service_of(stack), ("127.0.0.1", stack.gateway_port), user_ids


@contextmanager
def _running(
    host: str, users_file: Path | None, worker_metrics: tuple[str, ...], redis_url: str | None
) -> Iterator[Bed]:
    """A service that runs already."""
    parts = urlsplit(host)
    if parts.scheme != "http" or not parts.hostname:
        raise LocalRecError(f"--host: expected an address like http://127.0.0.1:8080, got {host!r}")
    if users_file is None:
        raise LocalRecError("--users-file: --host needs one: a user id a line, the most active first")
    try:
        user_ids = read_user_ids(users_file)
    except ValueError as exc:
        raise LocalRecError(str(exc)) from exc
    service = Service(f"{host.rstrip('/')}/metrics", worker_metrics, redis_url)
    yield service, (parts.hostname, parts.port or 80), user_ids
