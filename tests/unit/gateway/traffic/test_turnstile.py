"""Some at a time, and others in between."""

import asyncio

from service.gateway.traffic.turnstile import Turnstile


async def test_others_have_their_turns_while_a_crowd_goes_through():
    turnstile, through, turns = Turnstile(2), 0, []

    async def pass_through() -> None:
        nonlocal through
        async with turnstile:
            through += 1

    crowd = [asyncio.create_task(pass_through()) for _ in range(20)]
    while through < 20:
        await asyncio.sleep(0)
        turns.append(through)
    await asyncio.gather(*crowd)
    assert len(turns) >= 10
    assert max(after - before for before, after in zip([0, *turns], turns, strict=False)) <= 4


async def test_no_more_than_the_places_are_inside_whoever_is_cancelled():
    turnstile, inside, most = Turnstile(2), 0, 0

    async def stay() -> None:
        nonlocal inside, most
        async with turnstile:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    crowd = [asyncio.create_task(stay()) for _ in range(10)]
    await asyncio.sleep(0)
    crowd[0].cancel()  # in its pause at the door
    crowd[5].cancel()  # in the queue
    async with asyncio.timeout(2):
        await asyncio.gather(*crowd, return_exceptions=True)
    assert [task.cancelled() for task in crowd].count(True) == 2
    assert most == 2
