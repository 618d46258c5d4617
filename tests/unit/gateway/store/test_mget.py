"""MGET over connections of its own: nobody reads an answer that was meant for somebody else."""

import asyncio

import pytest
from redis.asyncio import Redis

from service.gateway.store.mget import Mget

pytestmark = pytest.mark.redis


async def test_answer_that_nobody_waited_for_is_not_taken_for_the_next(redis_url: str):
    async with Redis.from_url(redis_url) as redis:
        await redis.mset({"a": "of a", "b": "of b"})
        mget = Mget(redis.connection_pool)
        assert await mget(["a"]) == [b"of a"]
        await redis.client_pause(200)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await mget(["a"])
        assert await asyncio.gather(mget(["b"]), mget(["b", "none"])) == [[b"of b"], [b"of b", None]]
        await mget.close()


async def test_connection_that_was_closed_meanwhile_is_made_again(redis_url: str):
    async with Redis.from_url(redis_url) as redis:
        await redis.set("a", "of a")
        mget = Mget(redis.connection_pool)
        await asyncio.gather(*(mget(["a"]) for _ in range(3)))
        await redis.client_kill_filter(_type="normal", skipme=True)
        assert await asyncio.gather(*(mget(["a"]) for _ in range(3))) == [[b"of a"]] * 3
        await mget.close()
