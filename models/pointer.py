"""The pointer to the current bundle, in Redis: moved forward, moved back. Needs the base install only."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, cast

from redis import Redis

from models.contract.errors import BundleError
from models.contract.pointer import activation
from models.contract.redis_schema import (
    CURRENT_BUNDLE,
    HELD_BUNDLES,
    PREVIOUS_BUNDLE,
    PUBLISHED_BUNDLES,
    profile_key,
)

SCANNED_KEYS = 1_000  # keys looked at, and deleted, per round trip


def activate(bundle_id: str, redis: Redis) -> None:
    """Make a published bundle the current one. Raises BundleError where it was not published."""
    if not redis.sismember(PUBLISHED_BUNDLES, bundle_id):
        known = ", ".join(sorted(bundles(redis))) or "none"
        raise BundleError(f"{bundle_id}: is not published; published are: {known}")
    current = current_bundle(redis)
    with redis.pipeline(transaction=True) as pipe:
        for command in activation(bundle_id, current):
            cast(Any, pipe).execute_command(*command)
        pipe.execute()


def rollback(redis: Redis) -> str:
    """Make the bundle before the current one current again, and return its id. Raises BundleError without one."""
    previous = cast("bytes | None", redis.get(PREVIOUS_BUNDLE))
    if previous is None:
        raise BundleError("no bundle was current before this one")
    activate(previous.decode(), redis)
    return previous.decode()


def current_bundle(redis: Redis) -> str | None:
    """Id of the current bundle."""
    value = cast("bytes | None", redis.get(CURRENT_BUNDLE))
    return None if value is None else value.decode()


def bundles(redis: Redis) -> set[str]:
    """Ids of all published bundles."""
    return {value.decode() for value in cast("set[bytes]", redis.smembers(PUBLISHED_BUNDLES))}


def mark_held(bundle_id: str, redis: Redis) -> None:
    """Say that profiles of a bundle come: from now on whoever deletes a user deletes theirs, too."""
    redis.sadd(HELD_BUNDLES, bundle_id)


def mark_published(bundle_id: str, redis: Redis) -> None:
    """Say that all profiles of a bundle are in place: from now on it may become the current one."""
    redis.sadd(PUBLISHED_BUNDLES, bundle_id)


def unpublish(bundle_id: str, redis: Redis) -> int:
    """Delete a bundle's profiles. Returns their number. Raises BundleError for the current bundle.

    A worker or a gateway that still serves the bundle folds users in from their histories instead.
    """
    if current_bundle(redis) == bundle_id:
        raise BundleError(f"{bundle_id}: is the current bundle; activate another one first")
    redis.srem(PUBLISHED_BUNDLES, bundle_id)
    deleted = 0
    for keys in _batched(redis.scan_iter(match=profile_key("*", bundle_id), count=SCANNED_KEYS), SCANNED_KEYS):
        deleted += int(redis.unlink(*keys))
    redis.srem(HELD_BUNDLES, bundle_id)
    return deleted


def _batched(keys: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    keys = iter(keys)
    while batch := list(islice(keys, size)):
        yield batch
