"""``localrec experiment``: experiments before and after they run."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import click

from localrec.lazy import LazyGroup, Place
from service.gateway.experiments.assignment import HELD_OUT, Experiments
from service.gateway.experiments.file import ExperimentsLoader
from service.gateway.experiments.settings import BUCKETS, ExperimentFile, ExperimentSettings
from service.gateway.settings import load_settings

FILE = click.Path(path_type=Path, dir_okay=False)


class Commands(LazyGroup):
    """What needs polars and scipy is imported when it is called."""

    places: ClassVar[Mapping[str, Place]] = {
        "check": ("localrec.experimenting:check", "", "Whether a gateway would take a file of experiments."),
        "report": ("localrec.experiment_report:report", "train", "Lift, intervals and guards of an experiment."),
        "simulate": ("localrec.experiment_report:simulate", "train", "Data of an experiment with a known effect."),
    }


@click.group(cls=Commands)
def experiment() -> None:
    """Experiments, before and after they run."""


@click.command()
@click.argument("file", type=FILE)
@click.option(
    "--config",
    type=FILE,
    envvar="LOCALREC_CONFIG",
    help="The gateway's TOML file, whose pipelines the variants name. Environment: LOCALREC_CONFIG.",
)
@click.option("--user", "users", multiple=True, metavar="ID", help="Show what this user gets now; repeatable.")
def check(file: Path, config: Path | None, users: tuple[str, ...]) -> None:
    """Whether a gateway would take FILE: its layers, shares and states, or the reason and exit code 1."""
    settings = load_settings(config)
    experiments = ExperimentsLoader(file, settings.pipelines, settings.default_pipeline).load()
    now = datetime.now(UTC)
    for line in _lines(experiments.file, now):
        click.echo(line)
    for user_id in users:
        click.echo(_assigned(experiments, user_id))


def _lines(file: ExperimentFile, now: datetime) -> Iterator[str]:
    taking_part = 1.0 - (file.holdout.share if file.holdout else 0.0)
    if file.kill_switch:
        yield "kill switch: nobody takes part in anything"
    if file.holdout:
        yield f"holdout: {file.holdout.share:.2%} of all users, pipeline {file.holdout.pipeline or '(default)'}"
    for layer in file.layers:
        yield f"layer {layer.name}"
        for entry in layer.experiments:
            yield from _experiment_lines(entry, taking_part, now)
    for shadow in file.shadows:
        yield f"shadow {shadow.name}: {shadow.share:.2%} of requests, pipeline {shadow.pipeline}"


def _experiment_lines(entry: ExperimentSettings, taking_part: float, now: datetime) -> Iterator[str]:
    buckets = entry.buckets
    yield f"  {entry.name}: {_state(entry, now)}, buckets {buckets.start} to {buckets.stop - 1}"
    for variant, span in zip(entry.variants, entry.spans, strict=True):
        share = taking_part * len(buckets) / BUCKETS * len(span) / BUCKETS
        changes = (
            f"pipeline {variant.pipeline or '(default)'}, sets {', '.join(sorted(variant.changes())) or 'nothing'}"
        )
        yield f"    {variant.name}: {share:.2%} of all users, {changes}"


def _state(entry: ExperimentSettings, now: datetime) -> str:
    starts, ends = entry.window
    if not entry.enabled:
        return "disabled"
    if now < starts:
        return f"scheduled for {starts:%Y-%m-%d %H:%M} UTC"
    return "running" if now < ends else f"ended {ends:%Y-%m-%d %H:%M} UTC"


def _assigned(experiments: Experiments, user_id: str) -> str:
    assignment = experiments.assign(user_id, time.time())
    variants = ", ".join(f"{name}={variant}" for name, variant in assignment.experiments.items())
    outside = "held out" if assignment.variant == HELD_OUT else "in no experiment"
    forced = ", forced" if assignment.forced else ""
    return f"user {user_id}: {variants or outside}; pipeline {assignment.pipeline}{forced}"
