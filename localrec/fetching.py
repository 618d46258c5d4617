"""``localrec fetch``: data and models out of Python packages."""

from pathlib import Path

import click

from models.fetch import CARRIED
from models.fetch import fetch as fetch_files


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice(list(CARRIED)))
@click.option(
    "--into",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/source"),
    show_default=True,
    help="Each gets a directory of its name in it.",
)
def fetch(names: tuple[str, ...], directory: Path) -> None:
    """Fetch the data and models NAMES, unless they are there."""
    for name in dict.fromkeys(names):
        click.echo(f"{name}: {fetch_files(CARRIED[name], directory / name, click.echo)}")
