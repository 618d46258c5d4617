"""Requests share a round trip to Redis; whatever becomes of it, each of them hears of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.gateway.store.mget import Mget
from service.gateway.store.redis_store import RedisStore
from service.gateway.types import StateUnavailableError


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """The URL of something that accepts connections and never answers."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"redis://{host}:{port}"


def read_all(store: RedisStore, count: int) -> "list[asyncio.Task[object]]":
    deadline = asyncio.get_running_loop().time() + 60
    return [asyncio.create_task(store.read(f"u{row}", "b", deadline)) for row in range(count)]


@pytest.mark.parametrize("count", [1, 3])
async def test_failure_that_nobody_foresaw_reaches_every_request(monkeypatch: pytest.MonkeyPatch, count: int):
    def fail(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(Mget, "__call__", fail)
    store = RedisStore("redis://127.0.0.1:1", 60)
    async with asyncio.timeout(2):
        outcomes = await asyncio.gather(*read_all(store, count), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [KeyError] * count
    await store.close()


@pytest.mark.parametrize("turns", [0, 1, 2, 20])
async def test_closing_leaves_nobody_waiting(turns: int):
    async with silent_server() as url, asyncio.timeout(2):
        store = RedisStore(url, 60)
        reads = read_all(store, 3)
        await asyncio.sleep(0)  # all have asked
        for _ in range(turns):  # the fetch is waiting, was started, connects, has been sent
            await asyncio.sleep(0.001)
        await store.close()
        outcomes = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StateUnavailableError] * 3


async def test_silence_costs_the_timeout():
    async with silent_server() as url, asyncio.timeout(2):
        store = RedisStore(url, 0.05)
        outcomes = await asyncio.gather(*read_all(store, 2), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["timeout"] * 2
        await store.close()
