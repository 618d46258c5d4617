"""``localrec reproduce collm``: the tables and figures of CoLLM's paper, on one's own backbone."""

from collections.abc import Sequence
from pathlib import Path

import click

from localrec.bench.report import provenance
from localrec.studies import NumberList
from models.papers.collm.experiments import Row, all_rows
from models.papers.collm.study import CoLLMStudy, load_settings
from models.papers.collm.tables import write

DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("config_file", metavar="CONFIG", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--data", type=DIRECTORY, required=True, help="interactions.parquet and items.parquet, with labels.")
@click.option("--run", "directory", type=DIRECTORY, required=True, help="Everything is kept here, and reused.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Write OUT.json, OUT.md, and pictures into OUT."
)
@click.option("--seeds", type=NumberList(int), default="0,1,2", show_default=True, help="Each row is made with each.")
@click.option("--only", help="Names of rows with commas between them, as in the tables. Default: all.")
@click.option("--train/--no-train", default=True, help="Without: tables of the rows that are there.")
@click.option("--timed", default=0, show_default=True, help="Test pairs on which predictions are timed; 0: none.")
def collm(
    config_file: Path,
    data: Path,
    directory: Path,
    out: Path,
    seeds: Sequence[int],
    only: str | None,
    train: bool,
    timed: int,
) -> None:
    """Train and measure CoLLM, its baselines and its ablations, as CONFIG says, and write the paper's tables.

    Every row is kept when it is over, and one that was interrupted goes on. So the same command again only measures.
    """
    measured_with = provenance()
    study = CoLLMStudy(load_settings(config_file), data, directory, seeds, click.echo)
    chosen = _chosen(only)
    if train:
        study.run(chosen)
    rows = study.measured(all_rows())
    write(rows, study.scoring_costs(timed) if timed else {}, measured_with, out)
    click.echo(f"{len(rows)} rows in {out}.md")


def _chosen(only: str | None) -> Sequence[Row]:
    rows = {row.name: row for row in all_rows()}
    names = list(rows) if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in rows:
            raise click.BadParameter(f"{name!r}; expected of {', '.join(rows)}", param_hint="--only")
    return [rows[name] for name in names]
