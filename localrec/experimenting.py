"""``localrec experiment``: experiments before and after they run."""

from collections.abc import Mapping
from typing import ClassVar

import click

from localrec.lazy import LazyGroup, Place


class Commands(LazyGroup):
    """What needs polars and scipy is imported when it is called."""

    places: ClassVar[Mapping[str, Place]] = {
        "report": ("localrec.experiment_report:report", "train", "Lift, intervals and guards of an experiment."),
        "simulate": ("localrec.experiment_report:simulate", "train", "Data of an experiment with a known effect."),
    }


@click.group(cls=Commands)
def experiment() -> None:
    """Report on an experiment, or simulate one."""
