"""The keys in memory: found by what a caller presents."""

import hmac
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.gateway.security.bucket import TokenBucket
from service.gateway.security.keys import KeyScope, KeySettings, digest_of
from service.gateway.types import Caller


@dataclass(frozen=True, slots=True)
class Key:
    """A key and what is known of its use. ``expires_at`` is seconds since 1970."""

    digest: bytes
    caller: Caller
    scopes: frozenset[KeyScope]
    bucket: TokenBucket | None
    expires_at: float


class Keyring:
    """Keys of one reading of the file.

    Args:
        keys: as the file says.
        before: the keyring that this one replaces: buckets whose limits stay keep their tokens.
        clock: for rates; never steps back.
    """

    def __init__(
        self,
        keys: Sequence[KeySettings],
        before: "Keyring | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        buckets = {key.caller.key: key.bucket for key in before.keys} if before else {}
        self.keys: tuple[Key, ...] = tuple(_key(settings, buckets.get(settings.name), clock) for settings in keys)

    def find(self, presented: bytes) -> Key | None:
        """The key that was presented. Takes as long for a wrong key as for a right one, wherever that stands."""
        digest = digest_of(presented)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def _key(settings: KeySettings, before: TokenBucket | None, clock: Callable[[], float]) -> Key:
    return Key(
        digest=bytes.fromhex(settings.sha256),
        caller=Caller(settings.name, settings.deadline_ms, batch=settings.priority == "batch"),
        scopes=settings.scopes,
        bucket=_bucket(settings, before, clock),
        expires_at=settings.expires.timestamp() if settings.expires else math.inf,
    )


def _bucket(settings: KeySettings, before: TokenBucket | None, clock: Callable[[], float]) -> TokenBucket | None:
    if settings.rate_per_s is None:
        return None
    burst = settings.burst or max(1.0, settings.rate_per_s)
    if before is not None and (before.rate_per_s, before.burst) == (settings.rate_per_s, burst):
        return before
    return TokenBucket(settings.rate_per_s, burst, clock)
