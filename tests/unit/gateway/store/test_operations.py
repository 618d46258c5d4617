"""What operators change in Redis: the same as the command line does, in one transaction."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from models import pointer
from models.contract.redis_schema import BUNDLE_CHANNEL, HIDDEN_ITEMS, HIDDEN_VERSION
from service.gateway.store.operations import Operations, Pointers
from service.gateway.store.redis_store import RedisStore
from service.gateway.types import StateUnavailableError


@pytest.fixture
async def operations(redis_url: str) -> AsyncIterator[Operations]:
    store = RedisStore(redis_url, 1.0)
    yield Operations(store)
    await store.close()


@pytest.fixture
def redis(redis_url: str) -> Redis:
    redis = Redis.from_url(redis_url)
    for bundle_id in "abc":
        pointer.mark_published(bundle_id, redis)
    return redis


async def test_pointer_moves_and_the_command_line_sees_it(operations: Operations, redis: Redis):
    assert await operations.pointers() == Pointers(frozenset("abc"), None, None)
    seen = []
    for bundle_id in "abbca":
        await operations.activate(bundle_id)
        state = await operations.pointers()
        seen.append((state.current, state.previous))
    assert seen == [("a", None), ("b", "a"), ("b", "a"), ("c", "b"), ("a", "c")]
    assert pointer.rollback(redis) == "c"


async def test_change_is_announced(operations: Operations, redis: Redis):
    with redis.pubsub() as listener:
        listener.subscribe(BUNDLE_CHANNEL)
        listener.get_message(timeout=1)
        await operations.activate("b")
        message = listener.get_message(timeout=1)
    assert message is not None
    assert message["data"] == b"b"


async def test_operators_at_once_leave_a_state_that_one_after_the_other_could_have(
    operations: Operations, redis: Redis
):
    await operations.activate("a")
    await asyncio.gather(operations.activate("b"), operations.activate("c"))
    state = await operations.pointers()
    assert (state.current, state.previous) in {("b", "c"), ("c", "b")}


async def test_hidden_items_and_the_count_of_changes(operations: Operations, redis: Redis):
    await operations.hide(["i1"])
    await operations.hide(["ü/2"])
    await operations.show(["i1"])
    assert await operations.hidden() == {"ü/2"}
    assert redis.smembers(HIDDEN_ITEMS) == {"ü/2".encode()}
    assert redis.get(HIDDEN_VERSION) == b"3"


async def test_without_redis_it_says_so():
    store = RedisStore("redis://127.0.0.1:1", 0.1)
    try:
        with pytest.raises(StateUnavailableError):
            await Operations(store).activate("a")
    finally:
        await store.close()
