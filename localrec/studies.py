"""``localrec study`` and ``localrec sweep``: what turns runs into committed tables and figures."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from localrec.bench.report import provenance
from localrec.offline import GPU_SHARE, RAY, executor
from localrec.options import config_flags, given
from localrec.run_directory import RUN, run_of
from models.config import make
from models.evaluation.measure import EvaluateConfig, Evaluation, Protocol, as_json, check_against
from models.evaluation.plots import draw
from models.evaluation.tables import as_markdown, as_text, gains_table
from models.experiments.fusion_sweep import settings_of, sweep_fusion
from models.experiments.lists import GLOBAL, baselines_of, row_names
from models.experiments.study import Study
from models.experiments.sweep import Measured, Point, Sweep, write
from models.experiments.training_sweep import parse, sweep_training, trials
from models.llm.training_cost import TrainingReport, costs_table, devices, draw_costs
from models.pipeline import Pipeline
from models.run import load_config

OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="Write OUT.json, OUT.md, and pictures, PNG and SVG, into OUT."
)
TEST = click.option("--test", "on_test", is_flag=True, help="Measure on test examples. Default: on validation.")


class NumberList(click.ParamType[Sequence[float]]):
    """Numbers with commas between them."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Sequence[float]:
        """The numbers; a usage error where one is none, is negative, or comes twice."""
        if not isinstance(value, str):
            return tuple(value)
        try:
            numbers = [self._kind(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r}; expected numbers with commas between them", param, ctx)
        if min(numbers) < 0 or len(set(numbers)) < len(numbers):
            self.fail(f"{value!r}; expected different numbers, none below 0", param, ctx)
        return numbers


@click.command()
@click.argument("config_file", metavar="CONFIG", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--run",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="One run directory a seed is made in it, seed-0 …; what does not depend on the seed is made once.",
)
@click.option("--seeds", type=NumberList(int), default="0,1,2", show_default=True, help="One run each.")
@click.option(
    "--protocol",
    "protocols",
    type=click.Choice(get_args(Protocol)),
    multiple=True,
    default=["full"],
    show_default=True,
    help="As of localrec evaluate; may be given twice. What is written of sampled is named OUT-sampled.",
)
@click.option(
    "--against",
    multiple=True,
    default=[GLOBAL],
    show_default=True,
    help="The rows that the others are compared with; the first is that of the short table. May be given again.",
)
@OUT
@RAY
@GPU_SHARE
@config_flags(EvaluateConfig)
def study(
    config_file: Path,
    directory: Path,
    seeds: Sequence[int],
    protocols: tuple[Protocol, ...],
    against: tuple[str, ...],
    out: Path | None,
    ray: str | None,
    gpu_share: float,
    **flags: Any,
) -> None:
    """Run CONFIG with several seeds, and measure them together, with all baselines and what training cost.

    A metric is the mean over the seeds, its 95 % interval is over examples; its standard deviation over seeds stands
    beside it. What is there already is reused, so an interrupted study goes on, and the same study again only measures.
    """
    measured_with = provenance()
    settings, config = load_config(config_file), make(EvaluateConfig, given(flags), "evaluate")
    for name in against:
        check_against(name, row_names(baselines_of(settings.task)))
    runs = Study(directory, settings, seeds, click.echo, executor(ray, gpu_share))
    lists = runs.lists(protocols, config.list_length)
    costs = runs.costs()
    facts = measured_with | {"seeds": ", ".join(map(str, seeds)), "trained on": devices(costs.values())}
    for protocol in dict.fromkeys(protocols):
        rivals = tuple(dict.fromkeys(against))
        evaluations = runs.evaluations(lists[protocol], config, protocol=protocol, against=rivals, provenance=facts)
        click.echo(as_text(evaluations[0]))
        if out is not None:
            _write_study(evaluations, costs, out if protocol == "full" else out.with_name(f"{out.name}-{protocol}"))


@click.group()
def sweep() -> None:
    """One setting after the other: tables and pictures of what it does."""


@sweep.command()
@RUN
@click.option(
    "--bandwidths",
    type=NumberList(float),
    default=(),
    help="Inference bandwidths, the run's own or smaller. Default: from 0.4 in steps of 0.1.",
)
@TEST
@OUT
def fusion(directory: Path, bandwidths: Sequence[float], on_test: bool, out: Path | None) -> None:
    """Fusion over method, q, k and inference bandwidth (L3Rec: Table 6, Figures 4 and 5), from the kept rankings.

    One at a time, the others as validation chose them. No model is asked where the run has ranked its examples.
    """
    measured_with = provenance()
    config = run_of(directory)
    communities = config.communities
    settings = settings_of(communities.n_communities, communities.serving_bandwidth, bandwidths)
    pipeline = Pipeline(directory, config, click.echo)
    pipeline.run_until(pipeline.serving)
    examples: Measured = "test" if on_test else "valid"
    points = _collected(sweep_fusion(pipeline, settings, examples), len(settings))
    _finish(pipeline, examples, points, measured_with, out or directory / "sweeps" / f"fusion-{examples}")


@sweep.command("train")
@RUN
@click.option(
    "--vary",
    "varied",
    multiple=True,
    required=True,
    metavar="SECTION.KEY=v1,v2,…",
    help="A key of run.json and its values, such as communities.bandwidth=0.8,1.0; between values that are lists,"
    " semicolons. May be given again.",
)
@click.option("--grid", is_flag=True, help="Every combination of values. Default: one key at a time.")
@TEST
@OUT
@RAY
@GPU_SHARE
def sweep_train(
    directory: Path,
    varied: tuple[str, ...],
    grid: bool,
    on_test: bool,
    out: Path | None,
    ray: str | None,
    gpu_share: float,
) -> None:
    """The run again with other settings, each in RUN/sweeps/SECTION.KEY=VALUE; unchanged stages are reused.

    Measured are the global adapter and every fusion of the local ones, on validation items unless --test is given.
    """
    measured_with = provenance()
    config = run_of(directory)
    planned = trials(config, [parse(text) for text in varied], grid=grid)
    open_executor = executor(ray, gpu_share)
    pipeline = Pipeline(directory, config, click.echo, open_executor=open_executor)
    examples: Measured = "test" if on_test else "valid"
    points = _collected(sweep_training(pipeline, planned, examples, click.echo, open_executor), len(planned))
    axes = "+".join(dict.fromkeys(trial.axis.replace(", ", "x") for trial in planned))
    _finish(pipeline, examples, points, measured_with, out or directory / "sweeps" / f"{axes}-{examples}")


def _collected(found: Iterable[list[Point]], n: int) -> list[Point]:
    """All points, with a line each time that a setting is done."""
    points: list[Point] = []
    for number, of_setting in enumerate(found, 1):
        best = max(of_setting, key=lambda point: point.metrics["NDCG@10"].mean)
        click.echo(
            f"{number}/{n} {best.axis} {best.value}: best NDCG@10 {best.metrics['NDCG@10'].mean:.4f}, {best.model}"
        )
        points += of_setting
    return points


def _finish(
    pipeline: Pipeline, examples: Measured, points: list[Point], measured_with: dict[str, str], out: Path
) -> None:
    n_examples = len(pipeline.results.examples(examples))
    for path in write(Sweep(pipeline.config.name, examples, n_examples, measured_with, tuple(points)), out):
        click.echo(f"written: {path}")


def _write_study(evaluations: Sequence[Evaluation], costs: dict[int, TrainingReport], out: Path) -> None:
    """JSON is the first evaluation's document with ``also_against`` and ``training_cost``, see the modules."""
    first, *others = evaluations
    document = msgspec.to_builtins(first)
    document["also_against"] = {e.against: {row.name: msgspec.to_builtins(row.gains) for row in e.rows} for e in others}
    document["training_cost"] = {str(seed): report.as_dict() for seed, report in costs.items()}
    page = as_markdown(first, *map(gains_table, others), costs_table(costs))
    out.parent.mkdir(parents=True, exist_ok=True)
    files = {".json": as_json(document), ".md": page.encode()}
    for suffix, content in files.items():
        path = out.with_name(f"{out.name}{suffix}")
        path.write_bytes(content)
        click.echo(f"written: {path}")
    for path in (*draw(first, out), *draw_costs(costs, out)):
        click.echo(f"drawn: {path}")
