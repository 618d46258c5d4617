"""``localrec bench``: one command a benchmark."""

import json
from pathlib import Path
from typing import Any, Literal

import click

from localrec.bench.gateway import GatewayBenchOptions
from localrec.bench.gateway import run as run_gateway
from localrec.bench.redis_memory import RedisBenchOptions
from localrec.bench.redis_memory import run as run_redis
from models.contract.errors import LocalRecError

JSON = click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the record to this file.")


@click.group()
def bench() -> None:
    """Measure, against a reference in the same run."""


@bench.command()
@click.option("--seconds", default=2.0, show_default=True, help="Length of one round.")
@click.option("--rounds", default=5, show_default=True, help="Pairs of rounds; the first warms up.")
@click.option(
    "--run",
    "run_directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Finished run: also what its lists are worth when a community is late (extra: train).",
)
@JSON
def gateway(seconds: float, rounds: int, run_directory: Path | None, json_file: Path | None) -> None:
    """Throughput against a bare FastAPI service, own CPU time, latency, a slow community, overload; targets."""
    worth: dict[str, float] = {}
    if run_directory is not None:
        from localrec.bench.gateway.partial import measure

        worth = measure(run_directory)
    _keep(run_gateway(GatewayBenchOptions(seconds=seconds, rounds=rounds), worth), json_file)


@bench.command()
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False))
@click.option("--workers", type=click.Choice(["engine", "vllm"]), default="engine", show_default=True, help="Worker.")
@JSON
def local(bundle: Path, workers: Literal["engine", "vllm"], json_file: Path | None) -> None:
    """Stages of a local request for users of BUNDLE, real worker, one request at a time (extra: train)."""
    from localrec.bench.local import LocalBenchOptions, run

    _keep(run(bundle, LocalBenchOptions(workers=workers)), json_file)


@bench.command()
@click.option(
    "--part",
    "parts",
    type=click.Choice(["model", "http", "vllm", "loading", "slots", "index"]),
    multiple=True,
    help="What to measure; again for more. Default: all.",
)
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True, help="Served."
)
@click.option("--seconds", type=click.FloatRange(1), default=8.0, show_default=True, help="Length of one load.")
@click.option("--connections", type=click.IntRange(1), default=16, show_default=True, help="Requests in flight.")
@click.option("--rounds", type=click.IntRange(2), default=30, show_default=True, help="Of the model by itself.")
@JSON
def fanout(
    parts: tuple[str, ...], dtype: str, seconds: float, connections: int, rounds: int, json_file: Path | None
) -> None:
    """Nine adapters of a user: against one, against vLLM, under load, beside loads; targets (extra: train)."""
    from localrec.bench.fanout import PARTS, FanoutBenchOptions, run
    from localrec.bench.fanout.served import ServedOptions

    served = ServedOptions(seconds=seconds, connections=connections, dtype=dtype)
    chosen = [part for part in PARTS if not parts or part in parts]
    _keep(run(FanoutBenchOptions(parts=chosen, rounds=rounds, served=served)), json_file)


@bench.command()
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Bundle with a CoLLM model. Default: random weights, six layers.",
)
@click.option("--candidates", type=click.IntRange(2), default=50, show_default=True, help="Of one request.")
@click.option("--rounds", type=click.IntRange(1), default=8, show_default=True, help="Requests that count.")
@click.option("--vllm", is_flag=True, help="Stock vLLM too.")
@JSON
def rerank(bundle: Path | None, candidates: int, rounds: int, vllm: bool, json_file: Path | None) -> None:
    """CoLLM's re-ranking: plain passes, our engine, vLLM; tokens computed, agreement; targets (extra: train)."""
    from localrec.bench.rerank import RerankBenchOptions, run

    _keep(run(bundle, RerankBenchOptions(candidates, rounds, vllm)), json_file)


@bench.command()
@click.argument("trials", type=click.Path(path_type=Path, file_okay=False, exists=True), nargs=-1, required=True)
@click.option("--rounds", type=click.IntRange(2), default=30, show_default=True, help="Of each model.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Table and picture, without a suffix.")
@JSON
def tradeoff(trials: tuple[Path, ...], rounds: int, out: Path, json_file: Path | None) -> None:
    """Quality against fan-out cost of TRIALS, run directories that a training sweep has measured (extra: train)."""
    from localrec.bench.fanout.tradeoff import run

    _keep(run(trials, rounds, out), json_file)


@bench.command()
@click.option("--seconds", type=click.FloatRange(1), default=600.0, show_default=True, help="How long.")
@click.option("--swap-seconds", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Turn of a bundle.")
@click.option("--rate", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Requests per second.")
@click.option("--workers", type=click.Choice(["engine", "vllm"]), default="engine", show_default=True, help="Worker.")
@JSON
def soak(json_file: Path | None, **flags: Any) -> None:
    """Two bundles take turns under mixed load; fails on a failed request or a wrong list (extra: train)."""
    from localrec.bench.soak import SoakOptions, run

    _keep(run(SoakOptions(**flags)), json_file)


@bench.command()
@click.option("--seconds", type=click.FloatRange(0.1), default=4.0, show_default=True, help="How long a fault lasts.")
@click.option("--rate", type=click.FloatRange(1), default=50.0, show_default=True, help="Requests per second.")
@click.option("--deadline-ms", type=click.IntRange(50, 10_000), default=500, show_default=True, help="Of a request.")
@JSON
def faults(json_file: Path | None, **flags: Any) -> None:
    """Redis, engine and gateway fail under load; fails on a lost request or a wrong list (extra: train)."""
    from localrec.bench.faults import FaultsOptions, run

    record = run(FaultsOptions(**flags))
    _keep(record, json_file)
    if record["failures"]:
        raise LocalRecError(f"faults: {'; '.join(record['failures'])}")


@bench.command("redis")
@click.option(
    "--users", type=click.IntRange(1), default=50_000, show_default=True, help="Synthetic users that are written."
)
@JSON
def redis_memory(users: int, json_file: Path | None) -> None:
    """Memory that a user takes in Redis."""
    _keep(run_redis(RedisBenchOptions(n_users=users)), json_file)


@bench.command()
@click.option("--users", type=click.IntRange(1_000), default=1_000_000, show_default=True, help="Synthetic users.")
@click.option("--dimensions", type=click.IntRange(1), default=64, show_default=True, help="Of the users' space.")
@click.option("--communities", type=click.IntRange(1, 1_000), default=30, show_default=True, help="q in the paper.")
@JSON
def communities(users: int, dimensions: int, communities: int, json_file: Path | None) -> None:
    """Community discovery, against the bare matrix products of the same shape (extra: train)."""
    from localrec.bench.communities import CommunitiesBenchOptions, run

    options = CommunitiesBenchOptions(n_users=users, embedding_size=dimensions, communities=communities)
    _keep(run(options), json_file)


@bench.command()
@click.option("--backbone", default="", help="Hub id, checkpoint directory or .gguf file. Default: random, 12 layers.")
@click.option("--trunk-layers", type=click.IntRange(1), default=9, show_default=True, help="That read the items' text.")
@click.option("--top-layers", type=click.IntRange(1), default=3, show_default=True, help="That carry the adapter.")
@click.option("--items", type=click.IntRange(2), default=500, show_default=True, help="Size of the catalogue.")
@click.option("--rounds", type=click.IntRange(2), default=4, show_default=True, help="The first warms up.")
@JSON
def train(backbone: str, trunk_layers: int, top_layers: int, items: int, rounds: int, json_file: Path | None) -> None:
    """Tokens per second of text reading and adapter training, against plain forwards (extra: train)."""
    from localrec.bench.training import TrainingBenchOptions, run

    options = TrainingBenchOptions(
        backbone=backbone, trunk_layers=trunk_layers, top_layers=top_layers, n_items=items, rounds=rounds
    )
    _keep(run(options), json_file)


@bench.command()
@click.option(
    "--backbone", default="", help="Hub id, checkpoint directory or .gguf file. Default: random, SmolLM2's size."
)
@click.option("--layers", type=click.IntRange(1), default=6, show_default=True, help="Of the backbone.")
@click.option(
    "--intra-layers", type=click.IntRange(1), default=2, show_default=True, help="First layers, within items."
)
@click.option(
    "--cross-layers", type=click.IntRange(0), default=2, show_default=True, help="Last layers, between items."
)
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Prompts.")
@click.option("--rounds", type=click.IntRange(2), default=8, show_default=True, help="The first warms up.")
@JSON
def masked(json_file: Path | None, **flags: Any) -> None:
    """HatLLM's masked layers against plain attention, forward and backward; targets (extra: train)."""
    from localrec.bench.masked import MaskedBenchOptions, run

    _keep(run(MaskedBenchOptions(**flags)), json_file)


@bench.command("experts")
@click.option(
    "--backbone", default="", help="Hub id, checkpoint directory or .gguf file. Default: random, SmolLM2's size."
)
@click.option("--layers", type=click.IntRange(1), default=6, show_default=True, help="Of the backbone.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Prompts.")
@click.option("--tokens", type=click.IntRange(1), default=96, show_default=True, help="Of a prompt.")
@click.option("--item-tokens", type=click.IntRange(1), default=12, show_default=True, help="Of an item.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of the processor.")
@click.option("--rounds", type=click.IntRange(2), default=6, show_default=True, help="The first warms up.")
@JSON
def routed_experts(json_file: Path | None, **flags: Any) -> None:
    """L2Rec's routed experts against a single LoRA, forward and backward; routers; targets (extra: train)."""
    from localrec.bench.experts import ExpertsBenchOptions, run

    _keep(run(ExpertsBenchOptions(**flags)), json_file)


@bench.command()
@click.option(
    "--experiments", type=click.IntRange(2), default=400, show_default=True, help="With the effect; as many without."
)
@click.option("--users", type=click.IntRange(100), default=2_000, show_default=True, help="Of one experiment.")
@click.option("--looks", type=click.IntRange(1), default=20, show_default=True, help="At one experiment.")
@click.option(
    "--effect",
    type=click.FloatRange(-1, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="True lift.",
)
@click.option(
    "--mixture",
    type=click.FloatRange(0, min_open=True),
    default=0.05,
    show_default=True,
    help="Of the sequential test.",
)
@click.option("--seed", default=0, show_default=True, help="Of everything.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write tables, .md and .json, without a suffix.")
@JSON
def experiments(
    experiments: int,
    users: int,
    looks: int,
    effect: float,
    mixture: float,
    seed: int,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Coverage and false positives of localrec experiment report, on simulated experiments (extra: train)."""
    from localrec.bench.experiments import run
    from models.online.calibration import CalibrationOptions

    options = CalibrationOptions(experiments, users, looks, effect, mixture=mixture, seed=seed)
    _keep(run(options, out), json_file)


def _keep(record: dict[str, Any], json_file: Path | None) -> None:
    if json_file is not None:
        json_file.write_text(json.dumps(record, indent=2) + "\n")
