"""``localrec bench``: one command a benchmark."""

import json
from pathlib import Path
from typing import Any, Literal

import click

from localrec.bench.gateway import GatewayBenchOptions
from localrec.bench.gateway import run as run_gateway
from localrec.bench.redis_memory import RedisBenchOptions
from localrec.bench.redis_memory import run as run_redis

JSON = click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the record to this file.")


@click.group()
def bench() -> None:
    """Measure, against a reference in the same run."""


@bench.command()
@click.option("--seconds", default=2.0, show_default=True, help="Length of one round.")
@click.option("--rounds", default=5, show_default=True, help="Pairs of rounds; the first warms up.")
@JSON
def gateway(seconds: float, rounds: int, json_file: Path | None) -> None:
    """Throughput of pipeline cf against a bare FastAPI service with one Redis GET; the gateway's own share of local."""
    _keep(run_gateway(GatewayBenchOptions(seconds=seconds, rounds=rounds)), json_file)


@bench.command()
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False))
@click.option("--workers", type=click.Choice(["engine", "vllm"]), default="engine", show_default=True, help="Worker.")
@JSON
def local(bundle: Path, workers: Literal["engine", "vllm"], json_file: Path | None) -> None:
    """Stages of a local request for users of BUNDLE, real worker, one request at a time (extra: train)."""
    from localrec.bench.local import LocalBenchOptions, run

    _keep(run(bundle, LocalBenchOptions(workers=workers)), json_file)


@bench.command("redis")
@click.option(
    "--users", type=click.IntRange(1), default=50_000, show_default=True, help="Synthetic users that are written."
)
@JSON
def redis_memory(users: int, json_file: Path | None) -> None:
    """Memory that a user takes in Redis."""
    _keep(run_redis(RedisBenchOptions(n_users=users)), json_file)


def _keep(record: dict[str, Any], json_file: Path | None) -> None:
    if json_file is not None:
        json_file.write_text(json.dumps(record, indent=2) + "\n")
