"""``localrec experiment``: what an experiment has shown."""

import click


@click.group()
def experiment() -> None:
    """Experiments: check them, report on them, simulate them."""
