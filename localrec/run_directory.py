"""What the commands on a run directory share: options, and the pipeline with flags written into its settings."""

from pathlib import Path
from typing import Any

import click

from localrec.options import given
from models.contract.errors import ConfigError
from models.pipeline import Pipeline
from models.run import RunConfig, load_run, save_run, with_flags
from models.training.jobs import OpenExecutor

RUN = click.option(
    "--run",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/default"),
    show_default=True,
    help="Run directory: stages read and write below it, and run.json keeps their settings.",
)
BUNDLES = click.option(
    "--bundles", type=click.Path(path_type=Path, file_okay=False), help="Where bundles go. Default: RUN/bundles."
)


def run_of(directory: Path) -> RunConfig:
    """The settings of a run that was begun. Raises ConfigError where the directory holds none."""
    config = load_run(directory)
    if config is None:
        raise ConfigError(
            f"--run: {directory} holds no run; expected one that localrec data prepare, run or study began"
        )
    return config


def pipeline_of(
    directory: Path,
    section: str,
    flags: dict[str, Any],
    bundles: Path | None = None,
    open_executor: OpenExecutor | None = None,
) -> Pipeline:
    """The pipeline of a run, after the flags of a section were written into its settings.

    Raises:
        ConfigError: the directory holds no run, or a flag cannot be used; nothing is written then.
    """
    config = with_flags(run_of(directory), section, given(flags))
    save_run(directory, config)
    return Pipeline(directory, config, click.echo, bundles=bundles, open_executor=open_executor)
