"""What the commands on a run directory share: options, and the pipeline with flags written into its settings."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from localrec.options import given
from models.pipeline import Pipeline
from models.run import load_run, make_run, save_run, with_flags
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
JSON = click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the result to this file.")


def pipeline_of(
    directory: Path,
    section: str,
    flags: dict[str, Any],
    run_flags: Mapping[str, Any] = MappingProxyType({}),
    bundles: Path | None = None,
    open_executor: OpenExecutor | None = None,
) -> Pipeline:
    """The pipeline of a run directory, after a section's flags and the whole run's were written into its settings."""
    config = load_run(directory)
    if config is None:
        config = make_run({"name": directory.resolve().name, **run_flags}, str(directory))
    config = replace(config, **run_flags)
    config = with_flags(config, section, given(flags))
    save_run(directory, config)
    return Pipeline(directory, config, click.echo, bundles=bundles, open_executor=open_executor)
