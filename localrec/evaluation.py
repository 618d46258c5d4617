"""``localrec evaluate``: from a run directory or a bundle to a table, JSON, markdown and pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click

from localrec.bench.report import provenance
from localrec.options import JSON, config_flags, given
from localrec.run_directory import RUN, run_of
from models.config import make
from models.contract.bundle import Bundle, open_bundle
from models.contract.specs import FurtherPart
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
from models.experiments.bundle_lists import bundle_fusions, bundle_lists, bundle_rows
from models.experiments.lists import GLOBAL, QUICK, baselines_of, fusions_in_words, ranked_lists, row_names
from models.further import wanted
from models.pipeline import Pipeline
from models.ranking.fusion_search import in_words


@click.command()
@RUN
@click.option(
    "--bundle",
    "bundle_directory",
    type=click.Path(path_type=Path),
    help="Measure a bundle on the run's data, whose catalogue it must have, instead of what the run has trained.",
)
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
    bundle_directory: Path | None,
    with_baselines: bool,
    protocol: Protocol,
    against: str,
    json_file: Path | None,
    markdown_file: Path | None,
    plots: Path | None,
    **flags: Any,
) -> None:
    """HR, NDCG, MRR and Recall on held-out test items, with 95 % bootstrap intervals and paired p-values.

    Of a run, what it lacks is trained before; of a bundle, the run must have its data only (localrec data prepare), and
    users count as strangers, known by their histories.

    Rows: popularity and MultVAE, with --baselines all the others, CoLLM (the 50 best of MultVAE, ranked again) and
    HatLLM where there are such models, the global adapter, and the fused local adapters. The table shows the main
    columns; JSON and markdown hold all of them, slices by history length and by popularity of the target, coverage and
    popularity bias. With one target an example, Recall is HR.
    """
    measured_with = provenance()
    config = make(EvaluateConfig, given(flags), "evaluate")
    pipeline = Pipeline(directory, run_of(directory), click.echo)
    if bundle_directory is not None:
        if with_baselines:
            raise click.UsageError("--baselines: a bundle has none; expected it without --bundle")
        bundle = open_bundle(bundle_directory)
        check_against(against, bundle_rows(bundle))
        pipeline.run_until(pipeline.data)
        evaluation = evaluate_bundle(
            pipeline, bundle, config, protocol=protocol, against=against, provenance=measured_with
        )
    else:
        baselines = baselines_of(pipeline.config.task) if with_baselines else QUICK
        check_against(against, row_names(baselines, wanted(pipeline.config)))
        evaluation = evaluate_run(
            pipeline, pipeline.run(), baselines, config, protocol=protocol, against=against, provenance=measured_with
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
    further: Sequence[FurtherPart] | None = None,
) -> Evaluation:
    """Measure a run's baselines and its bundle; lists that the run lacks are made.

    ``provenance`` is of the measurement; bundle and seed are put before it. ``further`` are those of the run's further
    models that are measured; default: all.
    """
    lists = ranked_lists(pipeline, bundle, baselines, config.list_length, protocol, further)
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


def evaluate_bundle(
    pipeline: Pipeline,
    bundle: Bundle,
    config: EvaluateConfig,
    *,
    protocol: Protocol,
    against: str,
    provenance: dict[str, str],
) -> Evaluation:
    """Measure a bundle on the test items of a run's data."""
    dataset = pipeline.results.dataset()
    return evaluation_of(
        [bundle_lists(bundle, dataset, config.list_length, protocol)],
        HeldOut.of(dataset),
        config,
        dataset=pipeline.config.name,
        protocol=protocol,
        against=against,
        provenance={"bundle": bundle.id} | provenance,
        fusions=[{name: in_words(settings) for name, settings in bundle_fusions(bundle).items()}],
    )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
