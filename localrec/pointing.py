"""Commands that move the pointer to the current bundle. They need the base install only."""

from urllib.parse import urlsplit, urlunsplit

import click
from redis import Redis
from redis.exceptions import RedisError

from models import pointer
from models.contract.errors import LocalRecError

REDIS = click.option(
    "--redis-url",
    envvar="LOCALREC_REDIS_URL",
    default="redis://127.0.0.1:6379/0",
    show_default=True,
    help="redis://, rediss:// or unix:// URL. Environment: LOCALREC_REDIS_URL.",
)


@click.command()
@click.argument("bundle_id")
@REDIS
def activate(bundle_id: str, redis_url: str) -> None:
    """Make a published bundle the current one; gateways follow within a second."""
    pointer.activate(bundle_id, connect(redis_url))
    click.echo(f"{bundle_id}: current")


@click.command()
@REDIS
def rollback(redis_url: str) -> None:
    """Make the bundle before the current one current again."""
    click.echo(f"{pointer.rollback(connect(redis_url))}: current")


@click.command()
@click.argument("bundle_id")
@REDIS
def unpublish(bundle_id: str, redis_url: str) -> None:
    """Delete a bundle's profiles from Redis; the current bundle is refused. Histories stay."""
    n_users = pointer.unpublish(bundle_id, connect(redis_url))
    click.echo(f"{bundle_id}: {n_users:,} profiles deleted")


@click.command()
@REDIS
def bundles(redis_url: str) -> None:
    """List the published bundles; a star marks the current one."""
    redis = connect(redis_url)
    current = pointer.current_bundle(redis)
    for bundle_id in sorted(pointer.bundles(redis)):
        click.echo(f"{'*' if bundle_id == current else ' '} {bundle_id}")


def connect(url: str) -> Redis:
    """A client that answers PING. Raises LocalRecError where nothing does."""
    try:
        redis: Redis = Redis.from_url(url)
        redis.ping()
    except (RedisError, ValueError) as exc:
        raise LocalRecError(f"redis: {_without_password(url)}: {exc}") from exc
    return redis


def _without_password(url: str) -> str:
    url = url.partition("?")[0]  # the query may hold one, too
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))
