"""``localrec reproduce hatllm``: the tables and figures of HatLLM's paper, on one data set."""

from collections.abc import Sequence
from pathlib import Path

import click

from localrec.bench.report import provenance
from localrec.studies import NumberList
from models.papers.hatllm.study import HatStudy
from models.papers.hatllm.study_config import load_study
from models.papers.hatllm.study_report import measure_study, with_others, write_report


@click.command("hatllm")
@click.argument("config_file", metavar="CONFIG", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--run",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where trained rows are kept; what is there already is reused.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Write OUT.json, OUT.md, and pictures into OUT."
)
@click.option(
    "--seeds",
    type=NumberList(int),
    default="0,1,2",
    show_default=True,
    help="Of the main rows and local models; ablations and sweep are trained with the first.",
)
@click.option(
    "--only",
    default="",
    metavar="NAMES",
    help="Rows by name, or main, ablation, sweep, local; with commas between them. Default: all.",
)
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
    """HatLLM, the same model without masks, SASRec and LLaRA; the ablations of Table 5; the sweep of Figure 5;
    HatLLM with L3Rec's local models."""
    measured_with = provenance()
    study = HatStudy(directory, load_study(config_file), click.echo)
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    report = with_others(measure_study(study, seeds, wanted, measured_with), others)
    for path in write_report(report, out):
        click.echo(f"written: {path}")
