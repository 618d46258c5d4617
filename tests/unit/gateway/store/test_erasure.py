"""A user's records out of real streams, and nobody else's."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from models.contract.records import Event, Exposure, decode_exposures, decode_recorded_events, encode_records
from models.contract.redis_schema import EVENTS, EXPOSURES
from service.gateway.store import erasure
from service.gateway.store.erasure import erase
from service.gateway.store.redis_store import RedisStore

pytestmark = pytest.mark.redis


@pytest.fixture
def redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    monkeypatch.setattr(erasure, "PAGE", 3)
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(redis_url, 1.0)
    yield opened
    await opened.close()


def shown(request_id: str, user_id: str) -> Exposure:
    return Exposure(request_id, user_id, 0, "b", "cf", {}, ("ann",), ("cf",))  # an item may be called like a user


def requests_in(redis: Redis) -> dict[str, str]:
    """Users by request of all that is left in the stream."""
    entries = [decode_exposures(fields) for _, fields in redis.xrange(EXPOSURES)]
    assert all(entries)
    return {exposure.request_id: exposure.user_id for entry in entries for exposure in entry}


def fill(redis: Redis, users: list[list[str]]) -> None:
    for row, entry in enumerate(users):
        redis.xadd(EXPOSURES, encode_records([shown(f"{row}-{at}", user) for at, user in enumerate(entry)]))


async def test_entries_of_others_stay_mixed_ones_are_rewritten(redis: Redis, store: RedisStore):
    fill(redis, [["bob"], ["ann"], ["ann", "bob", "ann", "cid"], ["cid"], ["ann", "ann"], ["bob"], ["bob", "ann"]])
    untouched = [entry_id for entry_id, fields in redis.xrange(EXPOSURES) if b'"user_id":"ann"' not in fields[b"e"]]
    assert await erase(store, EXPOSURES, "ann") == 6
    assert requests_in(redis) == {"0-0": "bob", "2-1": "bob", "2-3": "cid", "3-0": "cid", "5-0": "bob", "6-0": "bob"}
    assert [entry_id for entry_id, _ in redis.xrange(EXPOSURES)][:3] == untouched
    assert await erase(store, EXPOSURES, "ann") == 0


async def test_events_are_records_like_any_other(redis: Redis, store: RedisStore):
    events = [Event("1", "click", "ann", "i", 0), Event("2", "click", "bob", "i", 0)]
    redis.xadd(EVENTS, encode_records(events))
    assert await erase(store, EVENTS, "ann") == 1
    assert [decode_recorded_events(fields) for _, fields in redis.xrange(EVENTS)] == [events[1:]]


async def test_who_erase_at_once_bring_nobody_back(redis: Redis, store: RedisStore):
    """All entries hold all users, so that everybody rewrites what the others rewrite."""
    users = ["ann", "bob", "cid", "dan", "eve"]
    fill(redis, [users] * 40)
    erased = await asyncio.gather(*(erase(store, EXPOSURES, user) for user in users[:4]))
    assert erased == [40] * 4
    assert requests_in(redis) == {f"{row}-4": "eve" for row in range(40)}


async def test_a_stream_that_is_not_there_holds_nothing(redis: Redis, store: RedisStore):
    assert await erase(store, EXPOSURES, "ann") == 0
    assert not redis.exists(EXPOSURES)


async def test_the_loop_stays_free(redis: Redis, store: RedisStore):
    fill(redis, [["bob"] * 20] * 30)
    turns = 0
    erasing = asyncio.create_task(erase(store, EXPOSURES, "ann"))
    while not erasing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 10  # at least one a page
