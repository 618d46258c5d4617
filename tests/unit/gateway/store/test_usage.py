"""How Redis is, as far as it says so."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from redis import Redis

from service.gateway.store.redis_store import RedisStore
from service.gateway.store.usage import RedisUsage, UsageFollower, usage_of
from service.gateway.telemetry import Telemetry

MEMORY = {"used_memory": 100, "maxmemory": 0, "total_system_memory": 1_000}


def text_of(telemetry: Telemetry) -> str:
    return telemetry.exposition().decode()


@pytest.mark.parametrize(("maxmemory", "limit"), [(0, 1_000), (400, 400)])
def test_the_limit_is_the_machines_where_redis_has_none(maxmemory: int, limit: int):
    memory: Mapping[str, Any] = MEMORY | {"maxmemory": maxmemory}
    assert usage_of(memory, {"connected_clients": 7}) == RedisUsage(100, limit, 7)


async def test_a_real_redis_says_how_it_is_and_round_trips_are_measured(redis_url: str):
    telemetry = Telemetry()
    store = RedisStore(redis_url, 1.0, telemetry.redis.asked)
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory", 123_456_789)
    await UsageFollower(store, telemetry.redis.usage, telemetry.redis.usage_unknown).look()
    await store.read("u", "b", asyncio.get_running_loop().time() + 1)
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory", 0)
    await store.close()
    text = text_of(telemetry)
    assert "localrec_redis_memory_limit_bytes 1.23456789e+08" in text
    assert float(text.split("\nlocalrec_redis_memory_used_bytes ")[1].split()[0]) > 100_000
    assert float(text.split("\nlocalrec_redis_clients ")[1].split()[0]) >= 1
    assert 'localrec_redis_seconds_count{command="usage",outcome="ok"} 1.0' in text
    assert 'localrec_redis_seconds_count{command="state",outcome="ok"} 1.0' in text


async def test_what_redis_said_last_is_not_repeated_while_it_is_silent():
    telemetry = Telemetry()
    telemetry.redis.usage(RedisUsage(1, 2, 3))
    store = RedisStore("redis://127.0.0.1:1", 1.0, telemetry.redis.asked)
    await UsageFollower(store, telemetry.redis.usage, telemetry.redis.usage_unknown).look()
    await store.close()
    text = text_of(telemetry)
    assert "localrec_redis_memory_used_bytes NaN" in text
    assert 'localrec_redis_seconds_count{command="usage",outcome="unreachable"} 1.0' in text


async def test_a_store_that_says_less_than_redis_is_unknown_and_no_failed_step(monkeypatch: pytest.MonkeyPatch):
    telemetry = Telemetry()
    telemetry.redis.usage(RedisUsage(1, 2, 3))
    store = RedisStore("redis://127.0.0.1:1", 1.0)

    async def ask(*_: Any, **__: Any) -> tuple[dict[str, int], dict[str, int]]:
        return {"used_memory": 100, "maxmemory": 0}, {"connected_clients": 7}

    monkeypatch.setattr(store, "ask", ask)
    await UsageFollower(store, telemetry.redis.usage, telemetry.redis.usage_unknown).look()
    await store.close()
    assert "localrec_redis_memory_used_bytes NaN" in text_of(telemetry)
