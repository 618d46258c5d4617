"""``localrec reproduce hatllm``: the tables and figures of HatLLM's paper, on one data set."""

from collections.abc import Sequence
from pathlib import Path

import click

from localrec.bench.report import provenance
from localrec.reproducing.options import CONFIG, ONLY, OUT, RUN, SEEDS, names
from models.papers.hatllm.study import HatStudy
from models.papers.hatllm.study_config import GROUPS, load_study
from models.papers.hatllm.study_report import measure_study, with_others
from models.papers.hatllm.study_tables import write_report


@click.command()
@CONFIG
@RUN
@OUT
@SEEDS
@ONLY
@click.option(
    "--also",
    "others",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="A document OUT.json of another data set, whose gain is averaged with this one's; may be given again.",
)
def hatllm(
    config_file: Path, directory: Path, out: Path, seeds: Sequence[int], only: str, others: tuple[Path, ...]
) -> None:
    """HatLLM, the same without masks, SASRec and LLaRA; the ablations of Table 5; the sweep of Figure 5; L3Rec with it.

    Ablations and sweep are of the first seed. The same command again only measures.
    """
    measured_with = provenance()
    study = HatStudy(directory, load_study(config_file), click.echo)
    wanted = names(only, [*GROUPS, *dict.fromkeys(row.name for row in study.rows)])
    report = with_others(measure_study(study, seeds, wanted, measured_with), others)
    for path in write_report(report, out):
        click.echo(f"written: {path}")
