"""What is held of a user, shown and deleted over HTTP."""

import logging
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis
from support.bundles import users_of
from support.gateway import RunningGateway, running_gateway
from support.http import Reply, request
from support.processes import wait_until
from support.stub_worker import StubProcess

from models.contract.bundle import Bundle
from models.contract.records import decode_exposures, decode_recorded_events, encode_records
from models.contract.redis_schema import (
    DELETED_USERS,
    EVENTS,
    EXPOSURES,
    PUBLISHED_BUNDLES,
    history_key,
    profile_key,
    seen_key,
    shown_key,
    user_hash,
)
from service.gateway.api.user_schemas import DeletedResponse, UserResponse
from service.gateway.bundles.snapshot import load_snapshot
from service.gateway.privacy import hashed


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def gateway(published: Bundle, stub: StubProcess, configure) -> Iterator[RunningGateway]:
    """Deleting waits for requests to end: here, not for long."""
    with running_gateway(configure(stub.url, default_deadline_ms=200)) as running:
        running.wait_ready()
        yield running


def call(gateway: RunningGateway, method: str, user_id: str) -> Reply:
    return request(gateway.port, method, f"/users/{quote(user_id, safe='')}")


def show(gateway: RunningGateway, user_id: str) -> Any:
    reply = call(gateway, "GET", user_id)
    assert reply.status == 200, reply.body
    UserResponse.model_validate(reply.json)
    return reply.json


def delete(gateway: RunningGateway, user_id: str) -> dict[str, int]:
    reply = call(gateway, "DELETE", user_id)
    assert reply.status == 200, reply.body
    DeletedResponse.model_validate(reply.json)
    deleted: dict[str, int] = reply.json["deleted"]
    return deleted


def act(gateway: RunningGateway, user_id: str, *item_ids: str) -> None:
    events = [{"type": "view", "user_id": user_id, "item_id": item, "timestamp": 1_750_000_000} for item in item_ids]
    assert request(gateway.port, "POST", "/events", {"events": events}).status == 200


NOTHING = dict.fromkeys(("profiles", "history", "seen", "event_ids", "shown", "exposures", "events"), 0)


def test_all_that_is_held_is_shown(gateway: RunningGateway, published: Bundle, redis: Redis):
    body = show(gateway, "u0")
    history = users_of(published).histories[0]
    profile = load_snapshot(published.directory).fold_in(history)
    assert body["user_id"] == "u0"
    assert body["profile"] == {
        "bundle": published.id,
        "fresh": True,
        "embedding_size": 16,
        "communities": [
            {
                "community": member.community,
                "name": f"community {member.community}",
                "affinity": round(member.cf_weight, 4),
                "weight": 1.0,
            }
            for member in profile.memberships
        ],
    }
    assert body["history"][-1] == {
        "item_id": f"i{history[-1]}",
        "title": f"Item {history[-1]}",
        "timestamp": 1_700_000_019,
    }
    assert (body["seen"], body["event_ids"], body["shown"], body["unreadable"]) == (20, 0, 0, [])
    keys = [profile_key("u0", published.id), history_key("u0"), seen_key("u0")]
    assert body["keys"] == {key: redis.strlen(key) for key in keys}


def test_events_make_the_profile_stale(gateway: RunningGateway):
    act(gateway, "u0", "i1", "elsewhere", "i1")
    body = show(gateway, "u0")
    assert not body["profile"]["fresh"]
    assert (len(body["history"]), body["seen"], body["event_ids"]) == (23, 22, 3)
    assert body["history"][-2] == {"item_id": "elsewhere", "title": None, "timestamp": 1_750_000_000}


def test_what_was_shown_lately_is_counted(published: Bundle, stub: StubProcess, configure):
    rotating = {"local": {"kind": "local", "pool": "local", "rotation": {"discount": 0.5}}}
    with running_gateway(configure(stub.url, default_deadline_ms=200, pipelines=rotating)) as gateway:
        gateway.wait_ready()
        for user in ("u0", "stranger"):
            gateway.recommend(user, n=7)
            wait_until(lambda user=user: call(gateway, "GET", user).json.get("shown") == 7)
        assert delete(gateway, "stranger") == NOTHING | {"shown": 1, "exposures": 1}


def test_a_new_user_has_no_profile(gateway: RunningGateway):
    act(gateway, "new", "i1")
    body = show(gateway, "new")
    assert body["profile"] is None
    assert [event["item_id"] for event in body["history"]] == ["i1"]


def test_damaged_values_are_named(gateway: RunningGateway, published: Bundle, redis: Redis):
    redis.mset(dict.fromkeys((profile_key("u0", published.id), history_key("u0")), b"\x07damaged" + b"!" * 9))
    body = show(gateway, "u0")
    assert (body["profile"], body["history"], body["seen"]) == (None, [], 20)
    assert body["unreadable"] == ["profile", "history"]


def test_who_is_unknown_has_nothing_to_show_and_nothing_to_delete(gateway: RunningGateway):
    reply = call(gateway, "GET", "stranger")
    assert (reply.status, reply.json["error"]["code"]) == (404, "unknown_user")
    assert delete(gateway, "stranger") == NOTHING


def test_all_of_it_is_deleted_everywhere(
    gateway: RunningGateway, published: Bundle, redis: Redis, caplog: pytest.LogCaptureFixture
):
    gateway.recommend("u0")
    gateway.recommend("u1")
    act(gateway, "u0", "i1", "i2")
    act(gateway, "u1", "i1")
    wait_until(lambda: sum(len(decode_exposures(fields)) for _, fields in redis.xrange(EXPOSURES)) == 2)
    shown = [exposure for _, fields in redis.xrange(EXPOSURES) for exposure in decode_exposures(fields)]
    redis.xadd(EXPOSURES, encode_records(shown))  # one entry of both
    redis.set(shown_key("u0"), b"something")
    redis.sadd(PUBLISHED_BUNDLES, "older")
    redis.set(profile_key("u0", "older"), b"profile")
    others = {
        key: redis.dump(key) for key in redis.scan_iter() if b"{u:u0}" not in key and redis.type(key) == b"string"
    }

    with caplog.at_level(logging.INFO, "service.gateway"):
        deleted = delete(gateway, "u0")

    assert deleted == {
        "profiles": 2,
        "history": 1,
        "seen": 1,
        "event_ids": 1,
        "shown": 1,
        "exposures": 2,
        "events": 2,
    }
    assert redis.keys("*{u:u0}*") == []
    assert {key: redis.dump(key) for key in others} == others
    left = [exposure for _, fields in redis.xrange(EXPOSURES) for exposure in decode_exposures(fields)]
    assert [exposure.user_id for exposure in left] == ["u1"] * 2
    assert [e.user_id for _, fields in redis.xrange(EVENTS) for e in decode_recorded_events(fields)] == ["u1"]
    assert redis.hexists(DELETED_USERS, user_hash("u0"))
    assert any(hashed("u0") in record.getMessage() for record in caplog.records)
    assert not any("u0" in record.getMessage().split() for record in caplog.records)

    assert delete(gateway, "u0") == NOTHING
    assert call(gateway, "GET", "u0").status == 404
    assert gateway.recommend("u0")["reasons"] == ["unknown_user"]


def test_a_list_that_is_not_written_yet_goes_too(
    published: Bundle, stub: StubProcess, configure, redis: Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("service.gateway.gateway.EXPOSURE_INTERVAL_SECONDS", 0.06)
    with running_gateway(configure(stub.url, default_deadline_ms=200)) as gateway:
        gateway.wait_ready()
        gateway.recommend("u0")  # written at once
        gateway.recommend("u0")  # after the interval
        assert delete(gateway, "u0")["exposures"] == 2
    assert redis.xlen(EXPOSURES) == 0


def test_a_list_that_is_still_being_made_goes_too(published: Bundle, stub: StubProcess, configure, redis: Redis):
    with running_gateway(configure(stub.url, default_deadline_ms=300)) as gateway:
        gateway.wait_ready()
        stub.order(delay_seconds=0.25)
        slow = threading.Thread(target=gateway.recommend)
        slow.start()
        wait_until(lambda: gateway.metric("localrec_requests_in_flight") == 1)
        assert delete(gateway, "u0")["exposures"] == 1
        slow.join()
    assert redis.xlen(EXPOSURES) == 0


def test_who_comes_back_is_a_new_user(gateway: RunningGateway):
    delete(gateway, "u0")
    act(gateway, "u0", "i1")
    body = show(gateway, "u0")
    assert body["profile"] is None
    assert (len(body["history"]), body["seen"]) == (1, 1)
    assert delete(gateway, "u0") == NOTHING | {"history": 1, "seen": 1, "event_ids": 1, "events": 1}


@pytest.mark.parametrize("user_id", ["a/b", "ü ß", "../x", "100%", "{u}", "?", "*", "😀" * 256])
def test_odd_ids_are_users_like_any_other(gateway: RunningGateway, user_id: str):
    act(gateway, "u1", "i1")
    act(gateway, user_id, "i1")
    assert show(gateway, user_id)["user_id"] == user_id
    assert delete(gateway, user_id)["history"] == 1
    assert show(gateway, "u1")["event_ids"] == 1


@pytest.mark.parametrize("user_id", ["", "x" * 257])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_no_id_is_refused(gateway: RunningGateway, method: str, user_id: str):
    reply = call(gateway, method, user_id)
    assert (reply.status, reply.json["error"]["code"]) == (422, "invalid_request")
    assert reply.json["error"]["field"] == "user_id"


def test_before_the_first_bundle_users_are_held_all_the_same(stub: StubProcess, configure, redis: Redis):
    with running_gateway(configure(stub.url, default_deadline_ms=200)) as gateway:
        act(gateway, "new", "i1", "i2")
        body = show(gateway, "new")
        assert (body["profile"], body["seen"], body["history"][0]["title"]) == (None, 2, None)
        assert delete(gateway, "new") == NOTHING | {"history": 1, "seen": 1, "event_ids": 1, "events": 2}
    assert set(redis.scan_iter()) <= {DELETED_USERS.encode(), EVENTS.encode()}
    assert redis.xlen(EVENTS) == 0


def test_other_methods_are_refused(gateway: RunningGateway):
    assert call(gateway, "POST", "u0").status == 405


def test_without_redis_nothing_is_claimed(stub, configure, short_tmp):
    with running_gateway(configure(stub.url, redis_url=f"unix://{short_tmp / 'none'}")) as gateway:
        for method in ("GET", "DELETE"):
            reply = call(gateway, method, "u0")
            assert (reply.status, reply.json["error"]["code"]) == (503, "store_unavailable")
