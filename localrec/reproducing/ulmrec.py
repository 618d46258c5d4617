"""``localrec reproduce ulmrec``: the tables and figures of ULMRec's paper, on one data set."""

from collections.abc import Sequence
from pathlib import Path

import click

from localrec.bench.report import provenance
from localrec.reproducing.options import CONFIG, ONLY, OUT, RUN, SEEDS, names
from models.papers.ulmrec.study import ULMStudy
from models.papers.ulmrec.study_config import GROUPS, load_study
from models.papers.ulmrec.study_report import measure_study
from models.papers.ulmrec.study_tables import write_report


@click.command()
@CONFIG
@RUN
@OUT
@SEEDS
@ONLY
def ulmrec(config_file: Path, directory: Path, out: Path, seeds: Sequence[int], only: str) -> None:
    """ULMRec, LlamaRec and the retriever alone; the ablations of Figure 8, the indices of Figure 9, Table 4.

    All rank the same retrieved candidates. The same command again only measures.
    """
    measured_with = provenance()
    study = ULMStudy(directory, load_study(config_file), click.echo)
    wanted = names(only, [*GROUPS, *(row.name for row in study.rows)])
    for path in write_report(measure_study(study, seeds, wanted, measured_with), out):
        click.echo(f"written: {path}")
