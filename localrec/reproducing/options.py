"""What the commands share: where a paper's rows are kept, which of them are made, with which seeds."""

from collections.abc import Collection
from pathlib import Path

import click

from localrec.studies import NumberList

DIRECTORY = click.Path(path_type=Path, file_okay=False)
CONFIG = click.argument("config_file", metavar="CONFIG", type=click.Path(path_type=Path, dir_okay=False))
RUN = click.option("--run", "directory", type=DIRECTORY, required=True, help="Every row is kept here, and reused.")
OUT = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Write OUT.json, OUT.md, and pictures into OUT."
)
SEEDS = click.option(
    "--seeds", type=NumberList(int), default="0,1,2", show_default=True, help="Of the rows of the main tables."
)
ONLY = click.option(
    "--only",
    default="",
    metavar="NAMES",
    help="Rows as the tables name them, commas between; of all but collm also groups, such as main or ablation."
    " Default: all.",
)


def names(only: str, known: Collection[str]) -> list[str]:
    """The names that ``--only`` gives, none where it gives none. Raises BadParameter where one is not known."""
    chosen = [name.strip() for name in only.split(",") if name.strip()]
    for name in chosen:
        if name not in known:
            raise click.BadParameter(f"{name!r}; expected of {', '.join(known)}", param_hint="--only")
    return chosen
