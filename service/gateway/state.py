"""Users' state, the bundle pointer and the exposure stream, in Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from models.contract.redis_schema import (
    CURRENT_BUNDLE,
    EXPOSURES,
    FormatError,
    decode_events,
    decode_profile,
    decode_seen,
    history_key,
    profile_key,
    seen_key,
)
from models.contract.types import HistoryEvent, Profile
from service.gateway.types import StateUnavailableError, UserState

BACKGROUND_TIMEOUT_SECONDS = 1.0
T = TypeVar("T")


class RedisStore:
    """One connection pool to Redis.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``.
        timeout_seconds: the longest that a request waits for its state.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        # One immediate retry: after a restart of Redis every pooled connection is dead, and says so at its next use.
        # Timeouts are ours, because they are bounded by the request's deadline.
        self._redis = Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=None, retry=Retry(NoBackoff(), 1)
        )
        self._timeout_seconds = timeout_seconds
        self.last_contact = time.monotonic()

    async def read(self, user_id: str, bundle_id: str, deadline: float) -> UserState:
        """A user's profile, history and seen set: one MGET. Raises StateUnavailableError."""
        until = min(deadline, asyncio.get_running_loop().time() + self._timeout_seconds)
        keys = (profile_key(user_id, bundle_id), history_key(user_id), seen_key(user_id))
        values = cast("list[bytes | None]", await self._guard(lambda: self._redis.mget(keys), until))
        return decode_state(*values)

    async def current_bundle(self) -> str | None:
        """Id of the bundle that should be served. Raises StateUnavailableError."""
        value = cast("bytes | None", await self._guard(lambda: self._redis.get(CURRENT_BUNDLE), _soon()))
        return None if value is None else value.decode(errors="replace")

    async def append_exposures(self, entries: Sequence[dict[bytes, bytes]], kept: int) -> None:
        """Append to the capped stream of exposures, in one round trip. Raises StateUnavailableError."""
        pipeline = self._redis.pipeline(transaction=False)
        for entry in entries:
            pipeline.xadd(EXPOSURES, cast("dict[Any, Any]", entry), maxlen=kept, approximate=True)
        await self._guard(pipeline.execute, _soon())

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _guard(self, command: Callable[[], Awaitable[T]], until: float) -> T:
        try:
            async with asyncio.timeout_at(until):
                answer = await command()
        except TimeoutError as exc:
            raise StateUnavailableError("timeout") from exc
        except (RedisError, OSError) as exc:
            raise StateUnavailableError(type(exc).__name__) from exc
        self.last_contact = time.monotonic()
        return answer


def _soon() -> float:
    return asyncio.get_running_loop().time() + BACKGROUND_TIMEOUT_SECONDS


def decode_state(profile: bytes | None, history: bytes | None, seen: bytes | None) -> UserState:
    """The three values of a user. One that is damaged counts as absent, and is named."""
    unreadable: list[str] = []
    events: list[HistoryEvent] = _decode("history", decode_events, history, [], unreadable)
    return UserState(
        profile=_decode("profile", _decode_profile, profile, None, unreadable),
        history=tuple(event.item_id for event in events),
        seen=_decode("seen", decode_seen, seen, np.empty(0, np.uint64), unreadable),
        unreadable=tuple(unreadable),
    )


def _decode_profile(value: bytes) -> Profile | None:
    return decode_profile(value)


def _decode(name: str, decode: Callable[[bytes], T], value: bytes | None, absent: T, unreadable: list[str]) -> T:
    if value is None:
        return absent
    try:
        return decode(value)
    except FormatError:
        unreadable.append(name)
        return absent
