"""``localrec demo``: from nothing to a running service on MovieLens-100k, on one machine, on embedded defaults.

Everything is real: the data, the language model, Redis, the worker (our engine or vLLM), the gateway. What was made
before is reused where nothing it was made from has changed.
"""

import json
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from localrec.bench.report import provenance
from localrec.evaluation import evaluate_run
from localrec.processes import free_port, get, post
from localrec.stack import Stack, WorkerKind, running_stack
from models.contract.bundle import Bundle, verify_bundle
from models.contract.errors import LocalRecError
from models.data.dataset import Dataset
from models.evaluation.measure import EvaluateConfig
from models.evaluation.tables import as_text
from models.experiments.lists import QUICK
from models.fetch import ML_100K, SMOLLM2_135M, fetch
from models.pipeline import Pipeline
from models.run import load_config, save_run

CONFIG = Path("deploy/demo.toml")
RUN = Path("runs/demo")
DEFAULT_PORT = 8080
NEW_USERS_FILMS = ("Toy Story", "Aladdin", "Lion King, The", "Beauty and the Beast", "Babe")
DEADLINE_MS = 2_000  # the first calls of a cold worker; production's default is 200


@dataclass(frozen=True)
class Example:
    """A request that the demo sends, and what it says of the user."""

    description: str
    body: dict[str, Any]


@click.command()
@click.option("--once", is_flag=True, help="Exit after the example requests instead of staying up.")
@click.option(
    "--workers", type=click.Choice(["engine", "vllm"]), default="engine", show_default=True, help="Our engine or vLLM."
)
@click.option(
    "--port", type=click.IntRange(0), default=None, help="Gateway's port. Default: 8080; with --once a free one."
)
def demo(once: bool, workers: WorkerKind, port: int | None) -> None:
    """Fetch, prepare, train, evaluate, publish and serve MovieLens-100k, then ask for three users.

    The first time takes minutes, the second seconds. Run it from the repository's root; everything is kept below
    runs/demo.
    """
    if not CONFIG.exists():
        raise LocalRecError(f"{CONFIG}: not here; run the demo from the repository's root")
    pipeline, bundle = _train()
    verify_bundle(bundle.directory)
    _print_evaluation(pipeline, bundle)
    gateway_port = (port if port is not None else 0 if once else DEFAULT_PORT) or free_port()
    click.echo(f"publishing to an embedded Redis; starting worker ({workers}) and gateway")
    admin_port = 0 if once else gateway_port + 1
    with running_stack(bundle, RUN, workers=workers, gateway_port=gateway_port, admin_port=admin_port) as stack:
        _ask(stack.gateway_port, bundle, pipeline.results.dataset())
        if not once:
            _stay(stack, admin_port)


def _train() -> tuple[Pipeline, Bundle]:
    source = RUN / "source"
    fetch(ML_100K, source, click.echo)
    fetch(SMOLLM2_135M, source, click.echo)
    config = load_config(CONFIG)
    save_run(RUN, config)
    pipeline = Pipeline(RUN, config, click.echo)
    bundle = pipeline.run()
    _write_users(pipeline.results.dataset())
    return pipeline, bundle


def _write_users(dataset: Dataset) -> None:
    """User ids for the load test, the most active first."""
    lengths = [len(dataset.full[row]) for row in range(len(dataset.user_ids))]
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    (RUN / "users.txt").write_text("".join(f"{dataset.user_ids[row]}\n" for row in order))


def _print_evaluation(pipeline: Pipeline, bundle: Bundle) -> None:
    evaluation = evaluate_run(pipeline, bundle, QUICK, EvaluateConfig(), provenance=provenance())
    click.echo(f"\n{as_text(evaluation)}\nlocalrec evaluate --run {RUN} --baselines: more rows\n")


def _examples(dataset: Dataset) -> list[Example]:
    """Two known users, and one whom nobody has seen before."""
    first, second = (dataset.user_ids[row] for row in (0, len(dataset.user_ids) // 2))
    titles = {item.title: item.item_id for item in dataset.catalogue.items}
    history = [titles[title] for title in NEW_USERS_FILMS if title in titles]
    return [
        Example(f"user {first}, known", {"user_id": first}),
        Example(f"user {second}, known", {"user_id": second}),
        Example(f"a new user who liked {'; '.join(NEW_USERS_FILMS)}", {"user_id": "new-user", "history": history}),
    ]


def _ask(port: int, bundle: Bundle, dataset: Dataset) -> None:
    for example in _examples(dataset):
        body = example.body | {"n": 10, "explain": True, "deadline_ms": DEADLINE_MS}
        status, answer = post(port, "/recommend", body)
        if status != 200:
            raise LocalRecError(f"POST /recommend for {example.description}: {status} {answer.decode()}")
        click.echo(_as_text(example, json.loads(answer)))
    click.echo("communities, by their most characteristic items:")
    for number, community in enumerate(bundle.manifest.communities):
        click.echo(f"  c{number:02d}  {community.n_users:4d} users  {community.name}")
    _print_latency(port)


def _as_text(example: Example, answer: dict[str, Any]) -> str:
    lines = [f"{example.description}  ({answer['timings_ms']['total']:.1f} ms, pipeline {answer['pipeline']})"]
    lines += [f"  {reason}" for reason in answer["reasons"]]
    for item in answer["items"]:
        votes = "  ".join(f"{_voter(vote)}:{vote['rank']}" for vote in item["explanation"])
        lines.append(f"  {item['rank']:2d}. {item['title'] or item['item_id']:<44.44} {item['source']:<7} {votes}")
    return "\n".join(lines) + "\n"


def _voter(vote: dict[str, Any]) -> str:
    """A community by its number, another voter by its name."""
    return str(vote["name"]) if vote["community"] is None else f"c{vote['community']:02d}"


def _print_latency(port: int) -> None:
    click.echo("\nfrom /metrics:")
    for line in get(port, "/metrics")[1].decode().splitlines():
        if line.startswith(
            ("localrec_request_seconds_sum", "localrec_request_seconds_count", "localrec_stage_seconds_sum")
        ):
            click.echo(f"  {line}")


def _stay(stack: Stack, admin_port: int) -> None:
    click.echo(
        f"""
gateway  http://127.0.0.1:{stack.gateway_port}   /recommend /events /items /users /openapi.json /readyz /metrics
admin    http://127.0.0.1:{admin_port}   /admin/bundles /admin/workers /admin/experiments /admin/items
worker   http://127.0.0.1:{stack.worker_port}
redis    {stack.redis_url}
  curl -s localhost:{stack.gateway_port}/recommend -d '{{"user_id": "196", "n": 5, "explain": true}}'
  scripts/loadtest --host http://127.0.0.1:{stack.gateway_port}
README, «The API», has more to try. Ctrl-C ends everything."""
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        signal.pause()
