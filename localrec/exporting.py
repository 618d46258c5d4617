"""``localrec export``: what the service recorded, out of Redis."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import click
from tqdm import tqdm

from localrec.pointing import REDIS, connect
from models.contract.records import EventType
from models.online import tables
from models.online.export import TableReport
from models.online.export import export as export_streams
from models.online.interactions import write_interactions
from models.online.stream import Page


@click.group()
def export() -> None:
    """What the service recorded, as tables."""


@export.command()
@click.option(
    "--out", "directory", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where the tables lie."
)
@REDIS
@click.option("--since", type=click.DateTime(), help="Leave out what was recorded before, UTC.")
@click.option(
    "--interactions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the events of all exports as interactions, .parquet, for localrec data prepare --source table.",
)
@click.option(
    "--type",
    "types",
    type=click.Choice(get_args(EventType)),
    multiple=True,
    default=("click", "add_to_cart", "purchase", "rating"),
    show_default=True,
    help="With --interactions, an event that counts as one; again for more.",
)
def events(
    directory: Path, redis_url: str, since: datetime | None, interactions: Path | None, types: tuple[str, ...]
) -> None:
    """Exposures and events as parquet: what has come since the last export into the same directory is added.

    Records that are there twice are taken once, those of users who were deleted since go, also from earlier exports,
    and entries that cannot be read are counted.
    """
    since_ms = int(since.replace(tzinfo=UTC).timestamp() * 1_000) if since else 0
    for report in export_streams(connect(redis_url), directory, since_ms, _progress):
        click.echo(_in_words(report))
    if interactions is not None:
        n_rows = write_interactions(tables.read(directory, tables.EVENTS), interactions, types)
        click.echo(f"{interactions}: {n_rows:,} interactions; localrec data prepare --source table reads them")


def _in_words(report: TableReport) -> str:
    counts = {"already there": report.n_doubles, "of deleted users": report.n_deleted, "damaged": report.n_damaged}
    rest = "".join(f", {count:,} {name}" for name, count in counts.items() if count)
    lacking = "; the stream no longer has the last exported entry: some may be lost" if report.may_lack else ""
    return f"{report.name}: {report.n_written:,} new{rest}{lacking}"


def _progress(pages: Iterable[Page[Any]], name: str, n_entries: int) -> Iterable[Page[Any]]:
    with tqdm(desc=name, total=n_entries, unit="entry", leave=False, disable=None) as bar:
        for page in pages:
            yield page
            bar.update(page.n_entries)
