"""``localrec demo``: from nothing to a running service on MovieLens-100k, on one machine, on embedded defaults.

Everything is real: the data, the language model, Redis, the worker (our engine or vLLM), the gateway. What was made
before is reused where nothing it was made from has changed.
"""

import json
import signal
import tomllib
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from localrec.bench.report import provenance
from localrec.evaluation import evaluate_run
from localrec.processes import free_port, get, post
from localrec.prometheus import find_prometheus, running_prometheus
from localrec.serving_stack import addresses
from localrec.stack import CPU_DEADLINE_MS, Stack, WorkerKind, running_stack, worker_kinds
from models.contract.bundle import Bundle, verify_bundle
from models.contract.errors import LocalRecError
from models.contract.specs import FurtherPart
from models.data.dataset import Dataset
from models.evaluation.measure import EvaluateConfig
from models.evaluation.tables import as_text
from models.experiments.lists import QUICK
from models.fetch import MINILM, ML_100K, SMOLLM2_135M, fetch
from models.further import wanted
from models.pipeline import Pipeline
from models.run import FURTHER, RunConfig, load_config, save_run, with_flags
from service.gateway.experiments.override import OVERRIDE_HEADER

CONFIG = Path("deploy/demo.toml")
FURTHER_CONFIG = Path("deploy/demo-llm.toml")
RUN = Path("runs/demo")
DEFAULT_PORT = 8080
NEW_USERS_FILMS = ("Toy Story", "Aladdin", "Lion King, The", "Beauty and the Beast", "Babe")
DEADLINE_MS = 2_000  # the first calls of a cold worker; production's default is 200
MEASURED: tuple[FurtherPart, ...] = ("hatllm", "l2rec")  # of the re-rankers localrec evaluate has rows


@dataclass(frozen=True)
class Example:
    """A request that the demo sends, what it says of the user, and the model that it asks; empty: the default."""

    description: str
    body: dict[str, Any]
    model: str = ""


@click.command()
@click.option(
    "--with",
    "further",
    type=click.Choice(FURTHER),
    multiple=True,
    help="Also train and serve this model, small, in some minutes; repeatable.",
)
@click.option("--watch", is_flag=True, help="Also run Prometheus with the rules of deploy/, where it is installed.")
@click.option("--once", is_flag=True, help="Exit after the example requests instead of staying up.")
@click.option(
    "--workers",
    type=click.Choice(["engine", "vllm"]),
    default="engine",
    show_default=True,
    help="Our engine or vLLM; l2rec is our engine's.",
)
@click.option(
    "--port", type=click.IntRange(0), default=None, help="Gateway's port. Default: 8080; with --once a free one."
)
def demo(further: tuple[FurtherPart, ...], watch: bool, once: bool, workers: WorkerKind, port: int | None) -> None:
    """Fetch, prepare, train, evaluate, publish and serve MovieLens-100k, then ask for three users.

    The first time takes minutes, the second seconds. Run it from the repository's root; everything is kept below
    runs/demo.
    """
    if not CONFIG.exists():
        raise LocalRecError(f"{CONFIG}: not here; run the demo from the repository's root")
    if watch:
        find_prometheus()  # not after minutes of training
    pipeline, bundle = _train(further)
    verify_bundle(bundle.directory)
    _print_evaluation(pipeline, bundle)
    gateway_port = (port if port is not None else 0 if once else DEFAULT_PORT) or free_port()
    click.echo(f"publishing to an embedded Redis; starting worker ({workers}) and gateway")
    admin_port = 0 if once else gateway_port + 1
    stack_of_demo = running_stack(
        bundle,
        RUN,
        workers=workers,
        further=worker_kinds(further, workers),
        gateway_port=gateway_port,
        admin_port=admin_port,
        environment=_choice_of_models(further),
    )
    with stack_of_demo as stack:
        _ask(stack.gateway_port, bundle, pipeline.results.dataset(), further)
        if not once:
            prometheus_port = free_port()
            with _watched(stack, prometheus_port) if watch else nullcontext():
                _stay(stack, admin_port, prometheus_port if watch else None)


def _train(further: tuple[FurtherPart, ...]) -> tuple[Pipeline, Bundle]:
    source = RUN / "source"
    fetch(ML_100K, source, click.echo)
    fetch(SMOLLM2_135M, source, click.echo)
    if "ulmrec" in further:
        fetch(MINILM, source / "minilm-l6-v2", click.echo)
    config = _with_further(load_config(CONFIG), further)
    save_run(RUN, config)
    pipeline = Pipeline(RUN, config, click.echo)
    bundle = pipeline.run()
    _write_users(pipeline.results.dataset())
    return pipeline, bundle


def _with_further(config: RunConfig, further: tuple[FurtherPart, ...]) -> RunConfig:
    sections = tomllib.loads(FURTHER_CONFIG.read_text()) if further else {}
    for part in further:
        config = with_flags(config, part, sections[part])
    return config


def _choice_of_models(further: tuple[FurtherPart, ...]) -> dict[str, str]:
    """The gateway's settings by which users are split among the models, and a request's header names one."""
    if not further:
        return {}
    lines = ["header_override = true", "[[layers]]", 'name = "models"', "[[layers.experiments]]", 'name = "model"']
    for name in ("local", *further):
        lines += ["[[layers.experiments.variants]]", f'name = "{name}"', "weight = 1", f'pipeline = "{name}"']
    file = RUN / "experiments.toml"
    file.write_text("\n".join(lines) + "\n")
    return {"LOCALREC_EXPERIMENTS_FILE": str(file.resolve())}


def _write_users(dataset: Dataset) -> None:
    """User ids for the load test, the most active first."""
    lengths = [len(dataset.full[row]) for row in range(len(dataset.user_ids))]
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    (RUN / "users.txt").write_text("".join(f"{dataset.user_ids[row]}\n" for row in order))


def _print_evaluation(pipeline: Pipeline, bundle: Bundle) -> None:
    measured = [part for part in wanted(pipeline.config) if part in MEASURED]
    evaluation = evaluate_run(pipeline, bundle, QUICK, EvaluateConfig(), provenance=provenance(), further=measured)
    click.echo(f"\n{as_text(evaluation)}\nlocalrec evaluate --run {RUN} --baselines: more rows\n")


def _examples(dataset: Dataset, further: tuple[FurtherPart, ...]) -> list[Example]:
    """Two known users and one whom nobody has seen before; the first of them again for each further model."""
    first, second = (dataset.user_ids[row] for row in (0, len(dataset.user_ids) // 2))
    titles = {item.title: item.item_id for item in dataset.catalogue.items}
    history = [titles[title] for title in NEW_USERS_FILMS if title in titles]
    local, liked = "local" if further else "", "; ".join(NEW_USERS_FILMS)
    return [
        Example(f"user {first}, known", {"user_id": first}, local),
        Example(f"user {second}, known", {"user_id": second}, local),
        Example(f"a new user who liked {liked}", {"user_id": "new-user", "history": history}, local),
        *(Example(f"user {first}, by {part}", {"user_id": first}, part) for part in further),
    ]


def _ask(port: int, bundle: Bundle, dataset: Dataset, further: tuple[FurtherPart, ...]) -> None:
    for example in _examples(dataset, further):
        deadline_ms = CPU_DEADLINE_MS if further else DEADLINE_MS
        body = example.body | {"n": 10, "explain": True, "deadline_ms": deadline_ms}
        headers = {OVERRIDE_HEADER: f"model={example.model}"} if example.model else {}
        status, answer = post(port, "/recommend", body, headers)
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


def _watched(stack: Stack, prometheus_port: int) -> AbstractContextManager[None]:
    targets = {kind: [w.port for w in stack.workers.values() if w.kind == kind] for kind in ("engine", "vllm")}
    targets["gateway"] = [stack.gateway_port]
    return running_prometheus(RUN / "prometheus", prometheus_port, targets)


def _stay(stack: Stack, admin_port: int, prometheus_port: int | None) -> None:
    click.echo(
        f"""
{addresses(stack, admin_port)}
  curl -s localhost:{stack.gateway_port}/recommend -d '{{"user_id": "196", "n": 5, "explain": true}}'
  scripts/loadtest --host http://127.0.0.1:{stack.gateway_port}"""
    )
    if len(stack.workers) > 1:
        click.echo(f"A header chooses the model: -H '{OVERRIDE_HEADER}: model={[*stack.workers][-1]}'")
    if prometheus_port is not None:
        click.echo(f"Prometheus: http://127.0.0.1:{prometheus_port}/alerts, and /graph for what docs/runbooks.md asks.")
    else:
        click.echo("--watch runs Prometheus beside it, where that is installed, with alerts and docs/runbooks.md.")
    click.echo("README, «The API», has more to try. Ctrl-C ends everything.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        signal.pause()
