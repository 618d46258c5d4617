"""``localrec reproduce l2rec``: the tables and figures of L2Rec's paper, on one data set."""

from collections.abc import Sequence
from pathlib import Path

import click

from localrec.bench.report import provenance
from localrec.reproducing.options import CONFIG, ONLY, OUT, RUN, SEEDS, names
from models.papers.l2rec.study import L2Study
from models.papers.l2rec.study_config import GROUPS, load_study
from models.papers.l2rec.study_report import measure_study
from models.papers.l2rec.study_tables import write_report


@click.command()
@CONFIG
@RUN
@OUT
@SEEDS
@ONLY
def l2rec(config_file: Path, directory: Path, out: Path, seeds: Sequence[int], only: str) -> None:
    """L2Rec, one LoRA for one view, LEARN, UniSRec, SASRec and MultVAE; the ablations of Table 3; Figure 2.

    Ablations and limited data are of the first seed. The same command again only measures.
    """
    measured_with = provenance()
    study = L2Study(directory, load_study(config_file), click.echo)
    wanted = names(only, [*GROUPS, *(row.name for row in study.rows)])
    report = measure_study(study, seeds, wanted, measured_with)
    for path in write_report(report, out):
        click.echo(f"written: {path}")
