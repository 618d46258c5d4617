"""``localrec evaluate``: from a run directory to a table, JSON, markdown and pictures."""

from pathlib import Path
from typing import Any, get_args

import click

from localrec.bench.report import provenance
from localrec.options import config_flags, given
from localrec.run_directory import JSON, RUN, run_of
from models.config import make
from models.contract.bundle import Bundle
from models.evaluation.measure import (
    EvaluateConfig,
    Evaluation,
    HeldOut,
    Protocol,
    as_json,
    check_against,
    evaluation_of,
)
from models.evaluation.plots import draw
from models.evaluation.tables import as_markdown, as_text
from models.experiments.lists import GLOBAL, QUICK, baselines_of, fusions_in_words, ranked_lists, row_names
from models.pipeline import Pipeline


@click.command()
@RUN
@click.option("--baselines", "with_baselines", is_flag=True, help="Train and measure all baselines of the task.")
@click.option(
    "--protocol",
    type=click.Choice(get_args(Protocol)),
    default="full",
    show_default=True,
    help="Rank each target among all items, or among itself and 99 fixed random ones that its user never met.",
)
@click.option("--against", default=GLOBAL, show_default=True, help="The row that the others are compared with.")
@JSON
@click.option(
    "--markdown", "markdown_file", type=click.Path(path_type=Path), help="Also write all tables to this file."
)
@click.option("--plots", type=click.Path(path_type=Path, file_okay=False), help="Also draw them, PNG and SVG, in here.")
@config_flags(EvaluateConfig)
def evaluate(
    directory: Path,
    with_baselines: bool,
    protocol: Protocol,
    against: str,
    json_file: Path | None,
    markdown_file: Path | None,
    plots: Path | None,
    **flags: Any,
) -> None:
    """HR, NDCG, MRR and Recall on held-out test items, with 95 % bootstrap intervals and paired p-values.

    Rows: popularity and MultVAE, with --baselines all the others, the global adapter, and the fused local adapters. The
    table shows the main columns; JSON and markdown hold all of them, slices by history length and by popularity of the
    target, coverage and popularity bias. With one target an example, Recall is HR.
    """
    measured_with = provenance()
    config = make(EvaluateConfig, given(flags), "evaluate")
    pipeline = Pipeline(directory, run_of(directory), click.echo)
    baselines = baselines_of(pipeline.config.task) if with_baselines else QUICK
    check_against(against, row_names(baselines))
    bundle = pipeline.run()
    evaluation = evaluate_run(
        pipeline, bundle, baselines, config, protocol=protocol, against=against, provenance=measured_with
    )
    click.echo(as_text(evaluation))
    if json_file is not None:
        _write(json_file, as_json(evaluation))
    if markdown_file is not None:
        _write(markdown_file, as_markdown(evaluation).encode())
    for path in draw(evaluation, plots) if plots is not None else ():
        click.echo(f"drawn: {path}")


def evaluate_run(
    pipeline: Pipeline,
    bundle: Bundle,
    baselines: tuple[str, ...],
    config: EvaluateConfig,
    *,
    protocol: Protocol = "full",
    against: str = GLOBAL,
    provenance: dict[str, str],
) -> Evaluation:
    """Measure a run's baselines and its bundle; lists that the run lacks are made.

    ``provenance`` is of the measurement; bundle and seed are put before it.
    """
    lists = ranked_lists(pipeline, bundle, baselines, config.list_length, protocol)
    return evaluation_of(
        [lists],
        HeldOut.of(pipeline.results.dataset()),
        config,
        dataset=pipeline.config.name,
        protocol=protocol,
        against=against,
        provenance={"bundle": bundle.id, "seed": str(pipeline.config.local.seed)} | provenance,
        fusions=[fusions_in_words(pipeline.results, baselines)],
    )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
