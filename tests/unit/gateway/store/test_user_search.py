"""Users by the beginning of their ids, in a real Redis."""

from collections.abc import AsyncIterator

import pytest
from redis import Redis

from models.contract.redis_schema import history_key, profile_key, seen_key
from service.gateway.store import user_search
from service.gateway.store.redis_store import RedisStore
from service.gateway.store.user_search import find_users

pytestmark = pytest.mark.redis


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url, 1.0)
    yield store
    await store.close()


@pytest.fixture
def keep(redis_url: str):
    """Keeps a history of users."""
    with Redis.from_url(redis_url) as redis:
        yield lambda *user_ids: redis.mset({history_key(user_id): b"" for user_id in user_ids})


async def found(store: RedisStore, prefix: str, limit: int = 20) -> tuple[list[str], bool]:
    users = await find_users(store, prefix, limit)
    return users.user_ids, users.more


async def test_shortest_ids_come_first_and_one_user_is_found_once(store: RedisStore, keep) -> None:
    keep("12", "1", "120", "2", "112", "ü")
    assert await found(store, "1") == (["1", "12", "112", "120"], False)
    assert await found(store, "12") == (["12", "120"], False)
    assert await found(store, "ü") == (["ü"], False)
    assert await found(store, "3") == ([], False)
    assert await found(store, "") == (["1", "2", "ü", "12", "112", "120"], False)


async def test_limit_and_whether_there_are_more(store: RedisStore, keep) -> None:
    keep(*(f"u{n}" for n in range(30)))
    user_ids, more = await found(store, "u", 10)
    assert (len(user_ids), more) == (10, True)
    assert (len((await found(store, "u", 30))[0]), (await found(store, "u", 30))[1]) == (30, False)


@pytest.mark.parametrize("user_id", ["a*b", "a?b", "a[b]", "a^b", "a-b", "a\\b", "a{b}", "a}:h"])
async def test_prefix_means_itself(store: RedisStore, keep, user_id: str) -> None:
    keep(user_id, "axb", "ab", "azzb")
    assert await found(store, user_id) == ([user_id], False)
    assert await found(store, user_id[:2]) == ([user_id], False)


async def test_other_keys_are_no_users(store: RedisStore, keep, redis_url: str) -> None:
    keep("ann")
    with Redis.from_url(redis_url) as redis:
        redis.mset({profile_key("bob", "b"): b"", seen_key("carl"): b"", "lr:hidden:version": b"1"})
        redis.xadd("lr:events", {"a": "b"})
    assert await found(store, "") == (["ann"], False)


async def test_of_a_large_store_a_part_is_looked_at_and_the_user_of_that_very_id_is_found(
    store: RedisStore, keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_search, "SEARCH_SECONDS", 0.0)
    monkeypatch.setattr(user_search, "KEYS_AT_ONCE", 1)
    keep("wanted", *(f"u{n}" for n in range(500)))
    user_ids, more = await found(store, "wanted")
    assert (user_ids, more) == (["wanted"], True)
