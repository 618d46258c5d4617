"""Bundles and users for tests, made in milliseconds and without a checkpoint."""

from redis import Redis

from localrec.bench.synthetic import SyntheticUsers, make_bundle, publish, user_values, users_of
from models import pointer

__all__ = ["SyntheticUsers", "activate", "make_bundle", "publish", "user_values", "users_of"]


def activate(redis: Redis, bundle_id: str) -> None:
    """Make a bundle the current one, whether or not anything of it was published."""
    pointer.mark_published(bundle_id, redis)
    pointer.activate(bundle_id, redis)
