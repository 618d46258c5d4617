"""``localrec reproduce collm``: the tables and figures of CoLLM's paper, on one's own backbone."""

from collections.abc import Sequence
from pathlib import Path

import click

from localrec.bench.report import provenance
from localrec.reproducing.options import CONFIG, DIRECTORY, ONLY, OUT, RUN, SEEDS, names
from models.papers.collm.experiments import all_rows
from models.papers.collm.study import CoLLMStudy, load_settings
from models.papers.collm.tables import write


@click.command()
@CONFIG
@click.option("--data", type=DIRECTORY, required=True, help="interactions.parquet and items.parquet, with labels.")
@RUN
@OUT
@SEEDS
@ONLY
@click.option("--train/--no-train", default=True, help="Without: tables of the rows that are there.")
@click.option(
    "--timed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Test pairs on which predictions are timed; 0: none.",
)
def collm(
    config_file: Path,
    data: Path,
    directory: Path,
    out: Path,
    seeds: Sequence[int],
    only: str,
    train: bool,
    timed: int,
) -> None:
    """Train and measure CoLLM, its baselines and its ablations, as CONFIG says, and write the paper's tables.

    Every row is kept when it is over, and one that was interrupted goes on. So the same command again only measures.
    """
    measured_with = provenance()
    study = CoLLMStudy(load_settings(config_file), data, directory, seeds, click.echo)
    known = {row.name: row for row in all_rows()}
    chosen = [known[name] for name in names(only, known) or known]
    if train:
        study.run(chosen)
    rows = study.measured(all_rows())
    write(rows, study.scoring_costs(timed) if timed else {}, measured_with, out)
    click.echo(f"{len(rows)} rows in {out}.md")
