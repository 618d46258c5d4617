"""Commands that write to Redis: publish a bundle, move the pointer."""

from collections.abc import Iterable
from pathlib import Path

import click
import polars as pl
from redis import Redis
from redis.exceptions import RedisError
from tqdm import tqdm

from models import publish as publisher
from models.contract.bundle import verify_bundle
from models.contract.errors import LocalRecError

REDIS = click.option(
    "--redis-url",
    envvar="LOCALREC_REDIS_URL",
    default="redis://127.0.0.1:6379/0",
    show_default=True,
    help="redis://, rediss:// or unix:// URL. Environment: LOCALREC_REDIS_URL.",
)


@click.command()
@click.argument("bundle_directory", type=click.Path(path_type=Path))
@REDIS
@click.option("--activate/--no-activate", default=True, show_default=True, help="Make it the current bundle.")
def publish(bundle_directory: Path, redis_url: str, activate: bool) -> None:
    """Verify a bundle, write its users' profiles to Redis, then make it the current one."""
    bundle = verify_bundle(bundle_directory)
    redis = connect(redis_url)
    n_users = publisher.publish(bundle, redis, _progress)
    click.echo(f"{bundle.id}: {n_users:,} profiles written")
    if activate:
        publisher.activate(bundle.id, redis)
        click.echo(f"{bundle.id}: current")


@click.command()
@click.argument("bundle_id")
@REDIS
def activate(bundle_id: str, redis_url: str) -> None:
    """Make a published bundle the current one; gateways follow within a second."""
    publisher.activate(bundle_id, connect(redis_url))
    click.echo(f"{bundle_id}: current")


@click.command()
@REDIS
def rollback(redis_url: str) -> None:
    """Make the bundle before the current one current again."""
    click.echo(f"{publisher.rollback(connect(redis_url))}: current")


@click.command()
@REDIS
def bundles(redis_url: str) -> None:
    """List the published bundles; a star marks the current one."""
    redis = connect(redis_url)
    current = publisher.current_bundle(redis)
    for bundle_id in sorted(publisher.bundles(redis)):
        click.echo(f"{'*' if bundle_id == current else ' '} {bundle_id}")


def connect(url: str) -> Redis:
    """A client that answers PING. Raises LocalRecError where nothing does."""
    try:
        redis: Redis = Redis.from_url(url)
        redis.ping()
    except (RedisError, ValueError) as exc:
        raise LocalRecError(f"redis: {url}: {exc}") from exc
    return redis


def _progress(slices: Iterable[pl.DataFrame], n_slices: int) -> Iterable[pl.DataFrame]:
    return tqdm(slices, "profiles", total=n_slices, unit="slice", leave=False)
