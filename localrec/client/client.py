"""The two clients. What they send and read is in ``calls``, when they try again in ``attempts``."""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from localrec.client import calls
from localrec.client.attempts import Attempts
from localrec.client.calls import Ask, Call, refusal
from localrec.client.errors import ClientError, TimeoutExceededError, UnreachableError
from localrec.client.types import Event, Events, Recommendation, RefusedRequest, SimilarItems

T = TypeVar("T")
MAX_CONNECTIONS = 1_000  # httpx's own limit of 100 would be a queue that nobody sees


class Client:
    """A client that blocks; may be shared by threads.

    Args:
        url: of the gateway, without a path.
        api_key: where the service asks for one.
        timeout_seconds: longest that a call takes, all attempts together. (A thread cannot be called back: an answer
            that comes in drops, each of them in time, takes longer.)
        retries: attempts after the first, where nothing was done: no connection, 429, 502, 503.
        transport: httpx's, for tests and proxies.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 1.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=url, headers=_headers(api_key), transport=transport, limits=_LIMITS, trust_env=False
        )
        self._timeout_seconds = timeout_seconds
        self._retries = retries

    def recommend(self, user_id: str, **fields: Any) -> Recommendation:
        """A user's list. ``fields`` are those of :class:`Ask`."""
        return self._run(calls.recommend(Ask(user_id=user_id, **fields)))

    def recommend_batch(self, asks: Sequence[Ask]) -> list[Recommendation | RefusedRequest]:
        """Up to 100 users' lists, in their order, each with an outcome of its own."""
        return self._run(calls.recommend_batch(asks))

    def similar(self, item_id: str, n: int = 10) -> SimilarItems:
        """The items nearest to one."""
        return self._run(calls.similar(item_id, n))

    def record(self, *events: Event) -> Events:
        """Tell the service what users did, up to 500 events; their next lists will know."""
        return self._run(calls.record(events))

    def user(self, user_id: str) -> dict[str, Any]:
        """What the service holds of a user."""
        return self._run(calls.user(user_id))

    def delete_user(self, user_id: str) -> dict[str, Any]:
        """Have all of it deleted."""
        return self._run(calls.delete_user(user_id))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        attempts = Attempts(self._retries, time.monotonic() + (call.timeout_seconds or self._timeout_seconds))
        while True:
            try:
                return self._attempt(call, attempts.remaining_seconds(time.monotonic()))
            except ClientError as failure:
                time.sleep(attempts.wait_seconds(failure, time.monotonic()))

    def _attempt(self, call: Call[T], timeout_seconds: float) -> T:
        try:
            response = self._http.request(call.method, call.path, content=call.body, timeout=timeout_seconds)
        except httpx.HTTPError as exc:
            raise _failure(exc) from exc
        return _read(call, response)


class AsyncClient:
    """The same for asyncio. Arguments are those of :class:`Client`."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 1.0,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers=_headers(api_key), transport=transport, limits=_LIMITS, trust_env=False
        )
        self._timeout_seconds = timeout_seconds
        self._retries = retries

    async def recommend(self, user_id: str, **fields: Any) -> Recommendation:
        """See :meth:`Client.recommend`."""
        return await self._run(calls.recommend(Ask(user_id=user_id, **fields)))

    async def recommend_batch(self, asks: Sequence[Ask]) -> list[Recommendation | RefusedRequest]:
        """See :meth:`Client.recommend_batch`."""
        return await self._run(calls.recommend_batch(asks))

    async def similar(self, item_id: str, n: int = 10) -> SimilarItems:
        """See :meth:`Client.similar`."""
        return await self._run(calls.similar(item_id, n))

    async def record(self, *events: Event) -> Events:
        """See :meth:`Client.record`."""
        return await self._run(calls.record(events))

    async def user(self, user_id: str) -> dict[str, Any]:
        """See :meth:`Client.user`."""
        return await self._run(calls.user(user_id))

    async def delete_user(self, user_id: str) -> dict[str, Any]:
        """See :meth:`Client.delete_user`."""
        return await self._run(calls.delete_user(user_id))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, call: Call[T]) -> T:
        attempts = Attempts(self._retries, time.monotonic() + (call.timeout_seconds or self._timeout_seconds))
        while True:
            try:
                async with asyncio.timeout(attempts.remaining_seconds(time.monotonic())):
                    return await self._attempt(call)
            except TimeoutError as exc:
                raise TimeoutExceededError("no answer in time") from exc
            except ClientError as failure:
                await asyncio.sleep(attempts.wait_seconds(failure, time.monotonic()))

    async def _attempt(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(call.method, call.path, content=call.body, timeout=None)
        except httpx.HTTPError as exc:
            raise _failure(exc) from exc
        return _read(call, response)


_LIMITS = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)


def _headers(api_key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "localrec-client"}
    return headers if api_key is None else {**headers, "Authorization": f"Bearer {api_key}"}


def _read(call: Call[T], response: httpx.Response) -> T:
    if response.status_code != httpx.codes.OK:
        raise refusal(response.status_code, response.content, response.headers.get("Retry-After"))
    return call.read(response.content)


def _failure(exc: httpx.HTTPError) -> ClientError:
    if isinstance(exc, httpx.TimeoutException):
        return TimeoutExceededError(str(exc) or type(exc).__name__)
    return UnreachableError(str(exc) or type(exc).__name__)
