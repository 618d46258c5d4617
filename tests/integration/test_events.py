"""What users do, over HTTP: stored once, in order, known to the next request."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.bundles import publish, users_of
from support.gateway import RunningGateway, running_gateway
from support.http import Reply, request
from support.stub_worker import StubProcess

from localrec.redis_server import redis_server
from models.contract.bundle import Bundle
from models.contract.records import Event, decode_recorded_events
from models.contract.redis_schema import EVENTS, decode_events, decode_seen, history_key, item_hash, seen_key
from service.gateway.api.event_schemas import EventsResponse
from service.gateway.bundles.snapshot import load_snapshot


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def send(gateway: RunningGateway, body: Any) -> Reply:
    return request(gateway.port, "POST", "/events", body)


def tell(gateway: RunningGateway, *events: dict[str, Any]) -> Any:
    """The body of an answer that must be 200."""
    reply = send(gateway, {"events": list(events)} if len(events) > 1 else events[0])
    assert reply.status == 200, reply.body
    return reply.json


def click(user_id: str, item_id: str, **fields: Any) -> dict[str, Any]:
    return {"type": "click", "user_id": user_id, "item_id": item_id, **fields}


def items(body: Any) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def recorded(redis: Redis) -> list[Event]:
    return [event for _, fields in redis.xrange(EVENTS) for event in decode_recorded_events(fields)]


def history(redis: Redis, user_id: str) -> list[str]:
    return [event.item_id for event in decode_events(redis.get(history_key(user_id)) or b"")]


def test_the_next_request_already_knows(gateway: RunningGateway, published: Bundle):
    before = gateway.recommend("u0", explain=True)
    clicked = items(before)[:2]
    answer = tell(gateway, click("u0", clicked[0]), click("u0", clicked[1], request_id=before["request_id"]))
    assert answer["accepted"] == 2
    after = gateway.recommend("u0", explain=True)
    assert not set(clicked) & set(items(after))
    assert items(after) != items(before)
    # It is not only the items that left: profile and prompt are new ones.
    assert [item["score"] for item in after["items"]] != [item["score"] for item in before["items"][2:]]
    seen = users_of(published).histories[0].tolist() + [int(item[1:]) for item in clicked]
    snapshot = load_snapshot(published.directory)
    affinities = {m.community: round(m.cf_weight, 4) for m in snapshot.fold_in(seen).memberships}
    votes = [vote for item in after["items"] for vote in item["explanation"] if vote["community"] is not None]
    assert votes
    assert all(vote["affinity"] == affinities[vote["community"]] for vote in votes)


def test_a_new_user_has_local_models_after_three_events(gateway: RunningGateway):
    assert gateway.recommend("newcomer")["reasons"] == ["unknown_user"]
    tell(gateway, *(click("newcomer", f"i{number}") for number in (3, 50, 120)))
    body = gateway.recommend("newcomer", explain=True)
    assert {item["source"] for item in body["items"]} == {"local"}
    assert body["reasons"] == []
    assert any(vote["affinity"] for vote in body["items"][0]["explanation"])
    assert not {"i3", "i50", "i120"} & set(items(body))
    assert items(body) == items(gateway.recommend("another", history=["i3", "i50", "i120"]))


def test_the_answer_says_what_became_of_each(gateway: RunningGateway):
    first = click("u1", "i1", event_id="once")
    answer = tell(gateway, first, click("u2", "no such item"), first, click("u2", "i2", event_id="once"))
    EventsResponse.model_validate(answer)
    assert (answer["accepted"], answer["duplicates"]) == (3, 1)
    made = answer["outcomes"][1]["event_id"]
    assert answer["outcomes"] == [
        {"event_id": "once", "status": "accepted", "known_item": True},
        {"event_id": made, "status": "accepted", "known_item": False},
        {"event_id": "once", "status": "duplicate", "known_item": True},
        {"event_id": "once", "status": "accepted", "known_item": True},  # another user's
    ]
    assert len(made) == 16
    assert gateway.metric('localrec_events_total{outcome="accepted",type="click"}') == 3
    assert gateway.metric('localrec_events_total{outcome="duplicate",type="click"}') == 1
    assert gateway.metric('localrec_request_seconds_count{outcome="ok",pipeline="",route="/events"') == 1


def test_events_go_to_the_stream_with_all_that_was_said(gateway: RunningGateway, redis: Redis):
    said = {"value": 12.5, "request_id": "r", "context": {"page": "cart"}, "timestamp": 1_700_000_000.25}
    tell(gateway, click("new", "i1", event_id="e") | {"type": "purchase"} | said)
    assert recorded(redis) == [
        Event("e", "purchase", "new", "i1", 1_700_000_000_250, 12.5, "r", {"page": "cart"}),
    ]


def test_equal_events_at_once_count_once(gateway: RunningGateway, redis: Redis):
    answers: list[Any] = []
    event = click("new", "i1", event_id="e")
    threads = [threading.Thread(target=lambda: answers.append(tell(gateway, event, event))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer["accepted"] for answer in answers) == [0] * 7 + [1]
    assert history(redis, "new") == ["i1"]
    assert decode_seen(redis.get(seen_key("new"))).tolist() == [item_hash("i1")]
    assert len(recorded(redis)) == 1


def test_late_events_are_put_where_they_belong(gateway: RunningGateway, redis: Redis):
    tell(gateway, click("new", "i3"))
    tell(gateway, click("new", "i1", timestamp=100), click("new", "i2", timestamp=100.5))
    assert history(redis, "new") == ["i1", "i2", "i3"]


def test_a_clock_that_steps_back_changes_no_order(
    gateway: RunningGateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
):
    for item, now in (("i1", 2_000_000_000.0), ("i2", 1_000.0), ("i3", 1_999_999_999.0)):
        monkeypatch.setattr("service.gateway.api.events.time.time", lambda now=now: now)
        tell(gateway, click("new", item))
    stored = decode_events(redis.get(history_key("new")))
    assert [(event.item_id, event.timestamp) for event in stored] == [(f"i{n}", 2_000_000_000) for n in (1, 2, 3)]


def test_settings_say_what_an_event_changes(published: Bundle, stub: StubProcess, configure, redis: Redis):
    events = {"history": ["click", "rating"], "seen": ["purchase", "rating"], "min_rating": 3, "history_kept": 2}
    with running_gateway(configure(stub.url, events=events)) as gateway:
        rating = {"type": "rating", "value": 2}
        tell(gateway, click("new", "low") | rating, click("new", "high") | rating | {"value": 3})
        tell(gateway, *(click("new", item) for item in ("a", "b")), click("new", "c") | {"type": "purchase"})
    assert history(redis, "new") == ["a", "b"]
    assert decode_seen(redis.get(seen_key("new"))).tolist() == [item_hash(item) for item in ("low", "high", "c")]
    assert len(recorded(redis)) == 5


def test_one_bad_event_keeps_all_from_being_stored(gateway: RunningGateway, redis: Redis):
    before = set(redis.keys())
    reply = send(gateway, {"events": [*[click("new", "i1")] * 3, click("new", "")]})
    assert (reply.status, reply.json["error"]["code"]) == (422, "invalid_request")
    assert reply.json["error"]["field"] == "events.3.item_id"
    assert set(redis.keys()) == before
    assert gateway.metric('localrec_request_seconds_count{outcome="invalid_request",pipeline="",route="/events"') == 1


def test_five_hundred_events_of_as_many_users_are_one_call(gateway: RunningGateway, redis: Redis):
    pad = {f"key{number:060d}": "x" * 40 for number in range(5)}
    answer = tell(gateway, *(click(f"crowd{n}", f"i{n % 200}", context=pad) for n in range(500)))
    assert answer["accepted"] == 500
    assert all(history(redis, f"crowd{n}") == [f"i{n % 200}"] for n in range(500))
    reply = send(gateway, b'{"events": "' + b"x" * 512 * 1024 + b'"}')
    assert (reply.status, reply.json["error"]["code"]) == (413, "body_too_large")


def test_a_script_that_redis_has_forgotten_is_sent_again(gateway: RunningGateway, redis: Redis):
    tell(gateway, click("new", "i1"))
    redis.script_flush()
    tell(gateway, click("new", "i2"), click("other", "i3"))
    assert (history(redis, "new"), history(redis, "other")) == (["i1", "i2"], ["i3"])


def test_redis_down_is_said_and_repeating_is_safe(bundle: Bundle, stub: StubProcess, configure, short_tmp: Path):
    settings = configure(stub.url, redis_url=f"unix://{short_tmp / 'redis.sock'}")
    event = click("new", "i1", event_id="e")
    with running_gateway(settings) as gateway:
        for _ in range(2):
            reply = send(gateway, event)
            assert (reply.status, reply.json["error"]["code"]) == (503, "store_unavailable")
            assert reply.headers["retry-after"] == "1"
        assert gateway.metric('localrec_events_total{outcome="failed",type="click"}') == 2
        with redis_server(short_tmp) as url, Redis.from_url(url) as redis:
            publish(url, bundle, users_of(bundle))
            assert tell(gateway, event)["accepted"] == 1
            assert tell(gateway, event)["duplicates"] == 1
            assert history(redis, "new") == ["i1"]


def test_other_methods_are_refused(gateway: RunningGateway):
    reply = request(gateway.port, "GET", "/events")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
