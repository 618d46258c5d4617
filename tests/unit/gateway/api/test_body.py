"""Bodies, however they come."""

import asyncio

import pytest
from starlette.types import Message, Receive

from service.gateway.api.body import read_body
from service.gateway.errors import ApiError, ClientGoneError


def sending(*messages: Message) -> Receive:
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    return receive


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_parts_are_one_body_up_to_the_limit():
    assert await read_body(sending(part(b'{"a"', True), part(b"", True), part(b":1}")), 7) == b'{"a":1}'
    with pytest.raises(ApiError) as caught:
        await read_body(sending(part(b'{"a"', True), part(b": 1}", True)), 7)
    assert caught.value.status == 413


async def test_who_leaves_sends_no_body():
    with pytest.raises(ClientGoneError):
        await read_body(sending(part(b"{", True), {"type": "http.disconnect"}))


@pytest.mark.parametrize("end", [b"1]", b"x]"])
async def test_a_long_body_leaves_others_their_turns(end: bytes):
    """Half a megabyte is checked in a twentieth of a second."""
    turns = 0
    reading = asyncio.create_task(read_body(sending(part(b"[" + b"1," * 250_000 + end)), 2**20))
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 5
    assert isinstance(reading.exception(), ApiError if end == b"x]" else type(None))
