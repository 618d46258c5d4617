"""The typed client against a gateway that runs."""

import asyncio

import pytest
from redis import Redis
from support.gateway import RunningGateway
from support.processes import free_port

from localrec.client import ApiError, Ask, AsyncClient, Client, Event, ItemFilter, RefusedRequest, UnreachableError
from models.contract.records import decode_recorded_events
from models.contract.redis_schema import EVENTS


@pytest.fixture
def client(gateway: RunningGateway):
    with Client(f"http://127.0.0.1:{gateway.port}", timeout_seconds=10) as connected:
        yield connected


def test_a_list_with_everything(client: Client):
    answer = client.recommend("u0", n=3, filters={"price": ItemFilter(max=50.0)}, diversity=0.2, explain=True)
    assert [item.rank for item in answer.items] == [1, 2, 3]
    assert answer.items[0].explanation
    assert (answer.user_id, answer.pipeline, answer.degraded) == ("u0", "local", False)


def test_a_batch_keeps_outcomes_apart(client: Client):
    first, second = client.recommend_batch([Ask(user_id="u0", n=2), Ask(user_id="u1", n=0)])
    assert not isinstance(first, RefusedRequest)
    assert len(first.items) == 2
    assert isinstance(second, RefusedRequest)
    assert (second.user_id, second.error.field) == ("u1", "n")


def test_events_are_known_to_the_next_list_and_deleted_with_the_user(client: Client, redis_url: str):
    shown = client.recommend("u2", n=1)
    done = client.record(Event("purchase", "u2", shown.items[0].item_id, value=9.5, request_id=shown.request_id))
    assert (done.accepted, done.outcomes[0].status) == (1, "accepted")
    assert client.recommend("u2", n=1).items[0].item_id != shown.items[0].item_id
    with Redis.from_url(redis_url) as redis:
        (event,) = decode_recorded_events(redis.xrange(EVENTS)[0][1])
    assert (event.request_id, event.value) == (shown.request_id, 9.5)
    assert client.user("u2")["event_ids"] == 1
    assert client.delete_user("u2")["deleted"]["events"] == 1
    with pytest.raises(ApiError) as caught:
        client.user("u2")
    assert (caught.value.status, caught.value.code) == (404, "unknown_user")


def test_similar_items(client: Client):
    assert [item.rank for item in client.similar("i5", n=4).items] == [1, 2, 3, 4]
    with pytest.raises(ApiError, match="unknown_item"):
        client.similar("a/b ?")


async def test_many_at_once(gateway: RunningGateway):
    async with AsyncClient(f"http://127.0.0.1:{gateway.port}", timeout_seconds=10) as client:
        answers = await asyncio.gather(*(client.recommend(f"u{row}", n=5) for row in range(40)))
    assert [answer.user_id for answer in answers] == [f"u{row}" for row in range(40)]
    assert all(len(answer.items) == 5 for answer in answers)


def test_nobody_listens():
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(UnreachableError):
        client.recommend("u0")
