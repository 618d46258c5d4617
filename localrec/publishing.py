"""The command that publishes a bundle."""

from collections.abc import Iterable
from pathlib import Path

import click
import polars as pl
from tqdm import tqdm

from localrec.pointing import REDIS, connect
from models import pointer
from models.contract.bundle import verify_bundle
from models.publish import publish as write_profiles


@click.command()
@click.argument("bundle_directory", type=click.Path(path_type=Path))
@REDIS
@click.option("--activate/--no-activate", default=True, show_default=True, help="Make it the current bundle.")
def publish(bundle_directory: Path, redis_url: str, activate: bool) -> None:
    """Verify a bundle, write its users' profiles to Redis, then make it the current one."""
    bundle = verify_bundle(bundle_directory)
    redis = connect(redis_url)
    n_users = write_profiles(bundle, redis, _progress)
    click.echo(f"{bundle.id}: {n_users:,} profiles written")
    if activate:
        pointer.activate(bundle.id, redis)
        click.echo(f"{bundle.id}: current")


def _progress(slices: Iterable[pl.DataFrame], n_slices: int) -> Iterable[pl.DataFrame]:
    return tqdm(slices, "profiles", total=n_slices, unit="slice", leave=False, disable=None)
