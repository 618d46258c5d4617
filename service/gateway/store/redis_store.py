"""Users' state, the bundle pointer and the exposure stream, in Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Literal, TypeVar, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from models.contract.redis_schema import (
    CURRENT_BUNDLE,
    EXPOSURES,
    SHOWN,
    SHOWN_KEPT,
    history_key,
    profile_key,
    seen_key,
    shown_key,
)
from service.gateway.store.mget import Mget
from service.gateway.types import StateUnavailableError, StoredUser
from service.periodic import cancel_all

BACKGROUND_TIMEOUT_SECONDS = 1.0
TLS_CLOSE_SECONDS = 0.1  # TLS says good-bye in a round trip that nothing waits for; without it, the log has an error

# Two gateways may append at one time. What is no whole number of entries is damaged, and starts anew.
_APPEND_SHOWN = """
local old = redis.call('GET', KEYS[1]) or ''
if #old % tonumber(ARGV[2]) ~= 0 then old = '' end
redis.call('SET', KEYS[1], string.sub(old .. ARGV[1], -tonumber(ARGV[3])), 'EX', ARGV[4])
"""
T = TypeVar("T")
Command = Literal["state", "bundle", "exposures", "shown", "events", "operations", "users", "usage"]
"""What a round trip is for: the label of its metric."""
Observer = Callable[[Command, str, float], None]
"""Told of each round trip: ``ok``, ``timeout``, ``unreachable``, ``refused`` or ``cancelled``, and its seconds."""
_Waiting = tuple[tuple[str, ...], "asyncio.Future[list[bytes | None]]"]


@dataclass(frozen=True, slots=True)
class ShownList:
    """Items that a user was shown, encoded, and for how long that is to be known."""

    user_id: str
    items: bytes
    kept_seconds: int


class RedisStore:
    """One connection pool to Redis. Create and use it inside a running event loop.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``.
        timeout_seconds: the longest that a request waits for its state.
        observe: hears of each round trip.
    """

    def __init__(self, url: str, timeout_seconds: float, observe: Observer = lambda *_: None) -> None:
        self._observe = observe
        # One immediate retry: after a restart of Redis every pooled connection is dead, and says so at its next use.
        # Timeouts are ours, because they are bounded by the request's deadline.
        self._redis = Redis.from_url(url, socket_timeout=None, socket_connect_timeout=None, retry=Retry(NoBackoff(), 1))
        self._mget = Mget(self._redis.connection_pool)
        self._timeout_seconds = timeout_seconds
        self._tls = url.startswith("rediss")
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._sent: set[asyncio.Task[None]] = set()
        self.last_contact = time.monotonic()

    async def read(self, user_id: str, bundle_id: str, deadline: float, with_shown: bool = False) -> StoredUser:
        """A user's profile, history and seen set: one MGET. Raises StateUnavailableError."""
        keys: tuple[str, ...] = (profile_key(user_id, bundle_id), history_key(user_id), seen_key(user_id))
        if with_shown:
            keys = (*keys, shown_key(user_id))
        answer = self._batch(keys)
        if deadline - self._loop.time() < self._timeout_seconds:
            try:
                async with asyncio.timeout_at(deadline):
                    return StoredUser(*await answer)
            except TimeoutError as exc:
                raise StateUnavailableError("timeout") from exc
        return StoredUser(*await answer)

    async def current_bundle(self) -> str | None:
        """Id of the bundle that should be served. Raises StateUnavailableError."""
        value = cast("bytes | None", await self._guard("bundle", lambda: self._redis.get(CURRENT_BUNDLE), _soon()))
        return None if value is None else value.decode(errors="replace")

    async def append_exposures(self, entry: dict[bytes, bytes], kept: int) -> None:
        """Append an entry to the capped stream of exposures. Raises StateUnavailableError."""
        fields = cast("dict[Any, Any]", entry)
        await self._guard(
            "exposures", lambda: self._redis.xadd(EXPOSURES, fields, maxlen=kept, approximate=True), _soon()
        )

    async def append_shown(self, lists: Sequence[ShownList]) -> None:
        """Append lists to what their users were shown, in one round trip. Raises StateUnavailableError."""
        pipeline = self._redis.pipeline(transaction=False)
        for shown in lists:
            key, window = shown_key(shown.user_id), shown.kept_seconds
            pipeline.eval(_APPEND_SHOWN, 1, key, shown.items, SHOWN.itemsize, SHOWN_KEPT * SHOWN.itemsize, window)
        await self._guard("shown", pipeline.execute, _soon())

    async def ask(
        self,
        commands: Callable[[Redis], Awaitable[T]],
        timeout_seconds: float = BACKGROUND_TIMEOUT_SECONDS,
        kind: Command = "operations",
    ) -> T:
        """Run any other commands, for at most ``timeout_seconds``. Raises StateUnavailableError."""
        return await self._guard(kind, lambda: commands(self._redis), self._loop.time() + timeout_seconds)

    async def close(self) -> None:
        """Close the connections. Whoever still waits gets StateUnavailableError."""
        self._send()
        await cancel_all(list(self._sent))
        await self._mget.close()
        await self._redis.aclose()
        if self._tls:
            await asyncio.sleep(TLS_CLOSE_SECONDS)

    def _batch(self, keys: tuple[str, ...]) -> "asyncio.Future[list[bytes | None]]":
        """Requests that arrive in the same turn of the loop share a round trip, for a third of its cost each."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        answer: asyncio.Future[list[bytes | None]] = self._loop.create_future()
        self._waiting.append((keys, answer))
        return answer

    def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:  # closing was quicker
            return
        task = self._loop.create_task(self._fetch(batch))
        self._sent.add(task)  # the loop itself would not keep it
        task.add_done_callback(partial(self._end, batch))

    def _end(self, batch: list[_Waiting], task: "asyncio.Task[None]") -> None:
        """However a fetch ended, a bug and a cancellation before its first step included: nobody waits for ever."""
        self._sent.discard(task)
        failure = StateUnavailableError("closed") if task.cancelled() else task.exception()
        for _, answer in batch:
            if failure is not None and not answer.done():
                answer.set_exception(failure)

    async def _fetch(self, batch: list[_Waiting]) -> None:
        values = await self._guard("state", lambda: self._values(batch), self._loop.time() + self._timeout_seconds)
        for (_, answer), value in zip(batch, values, strict=True):
            if not answer.done():  # its request gave up
                answer.set_result(value)

    async def _values(self, batch: list[_Waiting]) -> list[list[bytes | None]]:
        """One command for all of the batch."""
        values = await self._mget([key for keys, _ in batch for key in keys])
        ends = list(accumulate(len(keys) for keys, _ in batch))
        return [values[end - len(keys) : end] for end, (keys, _) in zip(ends, batch, strict=True)]

    async def _guard(self, kind: Command, command: Callable[[], Awaitable[T]], until: float) -> T:
        started, outcome = time.perf_counter(), "cancelled"
        try:
            async with asyncio.timeout_at(until):
                answer = await command()
            outcome = "ok"
        except TimeoutError as exc:
            outcome = "timeout"
            raise StateUnavailableError("timeout") from exc
        except (RedisError, OSError) as exc:
            outcome = "unreachable" if isinstance(exc, RedisConnectionError | OSError) else "refused"
            raise StateUnavailableError(type(exc).__name__) from exc
        finally:
            self._observe(kind, outcome, time.perf_counter() - started)
        self.last_contact = time.monotonic()
        return answer


def _soon() -> float:
    return asyncio.get_running_loop().time() + BACKGROUND_TIMEOUT_SECONDS
