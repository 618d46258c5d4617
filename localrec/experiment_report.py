"""``localrec experiment report`` and ``simulate``: what one has shown, and data of one whose truth is known."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from localrec.bench.report import provenance
from localrec.options import JSON
from models.evaluation.measure import as_json
from models.online import picture, tables
from models.online.metrics import METRICS
from models.online.outcomes import Scope
from models.online.page import as_markdown, as_text
from models.online.report import experiment_report
from models.online.rows import ReportOptions
from models.online.simulate import SimulationOptions
from models.online.simulate import simulate as write_simulation
from models.online.statistics import DEFAULT_MIXTURE
from models.online.weights import configured_weights, parsed_weights


@click.command()
@click.argument("name", metavar="EXPERIMENT")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="What localrec export events wrote."
)
@click.option("--control", default="", help="What the others are compared with. Default: control, else the first.")
@click.option(
    "--metric", "metrics", type=click.Choice(list(METRICS)), multiple=True, help="Again for more. Default: all."
)
@click.option("--since", type=click.DateTime(), help="Lists and events from then on count, UTC.")
@click.option("--until", type=click.DateTime(), help="Lists and events before it count, UTC.")
@click.option(
    "--window",
    type=click.FloatRange(0, min_open=True),
    default=24.0,
    show_default=True,
    help="Hours in which an event that names no list may come from one that showed its user the item.",
)
@click.option(
    "--covariate-days",
    type=click.FloatRange(0),
    default=14.0,
    show_default=True,
    help="Days before a user's first list whose events CUPED takes; 0 does without.",
)
@click.option("--segment", "segments", multiple=True, metavar="context.NAME", help="Also by this; again for more.")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.05,
    show_default=True,
    help="Rate of false positives; intervals are of level 1 - alpha.",
)
@click.option(
    "--mixture",
    type=click.FloatRange(0, min_open=True),
    default=DEFAULT_MIXTURE,
    show_default=True,
    help="Sequential intervals are narrowest for lifts of about this size.",
)
@click.option("--ratio", help="How users should be split: control=50,new=50. Default: evenly.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The experiments' TOML file, which says how users should be split.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write NAME.md, NAME.json, NAME.png and NAME.svg in here.",
)
@JSON
def report(
    name: str,
    data: Path,
    control: str,
    metrics: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    window: float,
    covariate_days: float,
    segments: tuple[str, ...],
    alpha: float,
    mixture: float,
    ratio: str | None,
    config: Path | None,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Lift of every variant of EXPERIMENT over control, with intervals, p-values, guards and segments.

    Users count, not requests: each belongs to the variant of its first list. Lists that were forced, or made in the
    shadow, do not count. An event belongs to the list that it names, else to the last one that showed its user the
    item. Two intervals are given: one for a single look that was planned before, one for any number of looks.
    """
    if ratio and config:
        raise click.UsageError("--ratio and --config both say how users should be split; expected one of them")
    measured_with = provenance()
    weights = parsed_weights(ratio) if ratio else configured_weights(config, name) if config else None
    scope = Scope(
        experiment=name,
        since=_utc(since),
        until=_utc(until),
        window=timedelta(hours=window),
        before=timedelta(days=covariate_days),
        segments=segments,
    )
    options = ReportOptions(control, metrics or tuple(METRICS), alpha, mixture, weights)
    exposures, events = (tables.read(data, kind) for kind in (tables.EXPOSURES, tables.EVENTS))
    found = experiment_report(exposures, events, scope, options, measured_with)
    click.echo(as_text(found))
    if json_file is not None:
        json_file.write_bytes(as_json(found))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.md").write_text(as_markdown(found), encoding="utf-8")
        (out / f"{name}.json").write_bytes(as_json(found))
        for path in picture.draw(found, out / name):
            click.echo(f"drawn: {path}")


@click.command()
@click.option(
    "--out", "directory", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where to write."
)
@click.option("--users", type=click.IntRange(2), default=10_000, show_default=True, help="How many.")
@click.option(
    "--effect",
    type=click.FloatRange(-1, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="True lift of click-through, conversion and revenue.",
)
@click.option(
    "--mismatch",
    type=click.FloatRange(-0.5, 0.5),
    default=0.0,
    show_default=True,
    help="By how much the treatment's share of users exceeds one half.",
)
@click.option(
    "--latency-effect",
    type=click.FloatRange(-1, min_open=True),
    default=0.0,
    show_default=True,
    help="True lift of the treatment's latency.",
)
@click.option("--seed", default=0, show_default=True, help="Of everything.")
def simulate(directory: Path, users: int, effect: float, mismatch: float, latency_effect: float, seed: int) -> None:
    """Exposures and events of an experiment with a known effect, as localrec export events writes them."""
    n_exposures, n_events = write_simulation(
        SimulationOptions(users, effect, mismatch, latency_effect, seed), directory
    )
    click.echo(f"{directory}: {n_exposures:,} exposures, {n_events:,} events; experiment: simulated")


def _utc(instant: datetime | None) -> datetime | None:
    return instant and instant.replace(tzinfo=UTC)
