"""What operators hide, followed through a store's failures."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from models.contract.redis_schema import HIDDEN_ITEMS, HIDDEN_VERSION
from service.gateway.store.availability import AvailabilityFollower
from service.gateway.store.operations import Operations
from service.gateway.store.redis_store import RedisStore
from service.gateway.types import StateUnavailableError


class Kept:
    """Hidden items in memory; silent where ``down``, and half-way where ``breaks``."""

    def __init__(self) -> None:
        self.items: frozenset[str] = frozenset()
        self.version = 0
        self.down = False
        self.breaks = False
        self.reads = 0

    def set(self, *items: str) -> None:
        self.items, self.version = frozenset(items), self.version + 1

    async def hidden_version(self) -> int:
        if self.down:
            raise StateUnavailableError("down")
        return self.version

    async def hidden(self) -> frozenset[str]:
        if self.breaks:
            raise StateUnavailableError("gone")
        self.reads += 1
        return self.items


async def test_the_items_are_read_where_the_version_has_changed():
    kept, told = Kept(), list[int]()
    follower = AvailabilityFollower(kept, told.append)
    await follower.follow()
    assert (follower.hidden, kept.reads) == (frozenset(), 0)
    kept.set("a", "b")
    for _ in range(3):
        await follower.follow()
    assert (follower.hidden, kept.reads, told) == ({"a", "b"}, 1, [2])


async def test_while_the_store_is_silent_the_last_word_counts():
    kept = Kept()
    follower = AvailabilityFollower(kept, lambda count: None)
    kept.set("a")
    await follower.follow()
    kept.set()
    kept.down = True
    await follower.follow()
    assert follower.hidden == {"a"}
    kept.down, kept.breaks = False, True
    await follower.follow()
    assert follower.hidden == {"a"}
    kept.breaks = False
    await follower.follow()
    assert follower.hidden == frozenset()


async def test_a_store_that_is_down_at_the_start_hides_nothing_and_is_caught_up_with():
    kept = Kept()
    kept.set("a")
    kept.down = True
    follower = AvailabilityFollower(kept, lambda count: None)
    await follower.follow()
    assert follower.hidden == frozenset()
    kept.down = False
    await follower.follow()
    assert follower.hidden == {"a"}


async def test_a_change_between_version_and_items_is_not_lost():
    kept = Kept()
    kept.set("a")
    follower = AvailabilityFollower(kept, lambda count: None)
    read = kept.hidden

    async def late() -> frozenset[str]:
        found = await read()
        kept.set("a", "b")
        return found

    kept.hidden = late  # type: ignore[method-assign]
    await follower.follow()
    kept.hidden = read  # type: ignore[method-assign]
    await follower.follow()
    assert follower.hidden == {"a", "b"}


@pytest.mark.redis
class TestRedis:
    @pytest.fixture
    async def operations(self, redis_url: str) -> AsyncIterator[Operations]:
        store = RedisStore(redis_url, 1.0)
        yield Operations(store)
        await store.close()

    async def test_hide_and_show_change_items_and_version(self, operations: Operations):
        assert (await operations.hidden(), await operations.hidden_version()) == (frozenset(), 0)
        await operations.hide(["a", "ü", "a"])
        assert (await operations.hidden(), await operations.hidden_version()) == ({"a", "ü"}, 1)
        await operations.show(["a", "never hidden"])
        assert (await operations.hidden(), await operations.hidden_version()) == ({"ü"}, 2)
        await operations.hide([])
        await operations.show([])
        assert await operations.hidden_version() == 2

    async def test_other_processes_see_it(self, operations: Operations, redis_url: str):
        follower = AvailabilityFollower(operations, lambda count: None)
        other = RedisStore(redis_url, 1.0)
        await asyncio.gather(*(Operations(other).hide([f"i{number}"]) for number in range(5)))
        await other.close()
        await follower.follow()
        assert follower.hidden == {f"i{number}" for number in range(5)}

    async def test_keys_are_those_of_the_schema(self, operations: Operations, redis_url: str):
        await operations.hide(["a"])
        async with Redis.from_url(redis_url) as redis:
            assert await redis.smembers(HIDDEN_ITEMS) == {b"a"}
            assert await redis.get(HIDDEN_VERSION) == b"1"

    async def test_nobody_listens(self):
        store = RedisStore("redis://127.0.0.1:1", 1.0)
        operations = Operations(store)
        calls = (operations.hidden(), operations.hidden_version(), operations.hide(["a"]), operations.show(["a"]))
        for call in calls:
            with pytest.raises(StateUnavailableError):
                await call
        await store.close()
