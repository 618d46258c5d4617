"""Publishing into a real redis-server, and moving the pointer there."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from models import publish as publisher
from models.contract.bundle import PROFILES, Bundle, Manifest, ServingSpec
from models.contract.errors import BundleError
from models.contract.fusion import FusionMethod
from models.contract.records import Event
from models.contract.redis_schema import (
    BUNDLE_CHANNEL,
    CURRENT_BUNDLE,
    DELETED_USERS,
    HELD_BUNDLES,
    decode_events,
    decode_profile,
    decode_seen,
    encode_events,
    encode_profile,
    encode_seen,
    history_key,
    item_hash,
    profile_key,
    seen_key,
    user_hash,
)
from models.contract.specs import ModelSpec
from models.contract.types import HistoryEvent, ItemId, Membership, Profile
from models.pointer import activate, bundles, current_bundle, rollback, unpublish
from models.publish import publish
from service.gateway.store.event_script import SCRIPT, NewEvent, arguments, keys_of
from service.gateway.store.redis_store import RedisStore
from service.gateway.store.settings import EventSettings
from service.gateway.store.users import UserStore

pytestmark = pytest.mark.redis

CREATED_AT = "2026-01-01T00:00:00+00:00"
USERS = ("ann", "bob", "çelik {x}")


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def profile_of(user: int, version: int) -> Profile:
    embedding = pl.Series([user, version, 0.5], dtype=pl.Float32).to_numpy()
    return Profile(embedding, (Membership(1, 0.75, 1.0), Membership(0, 0.25, 1.0)))


def events_of(user: int) -> list[HistoryEvent]:
    return [HistoryEvent(ItemId(f"i{user}-{n}"), 1_000 + n) for n in range(user + 1)]


def make_bundle(root: Path, version: int = 1, users: tuple[str, ...] = USERS) -> Bundle:
    """A bundle as far as publishing looks at it: its id, and its table of profiles."""
    directory = root / f"b-{version}"
    path = directory / PROFILES
    path.parent.mkdir(parents=True)
    rows = [
        (
            user_id,
            encode_profile(profile_of(user, version)),
            encode_events(events_of(user)),
            encode_seen([event.item_id for event in events_of(user)]),
        )
        for user, user_id in enumerate(users)
    ]
    columns = {"user_id": pl.String, "profile": pl.Binary, "history": pl.Binary, "seen": pl.Binary}
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(path)
    model = ModelSpec("item-token", 20, 9, 4, ("global",), "")
    serving = ServingSpec(FusionMethod.RRF, 0.0, 10)
    return Bundle(
        directory, Manifest(1, directory.name, CREATED_AT, 3, 1.0, "epanechnikov", model, serving, (), {}, {}, {}, {})
    )


def test_what_is_published_decodes_to_what_was_exported(redis: Redis, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    assert publish(bundle, redis) == len(USERS)
    for user, user_id in enumerate(USERS):
        profile = decode_profile(redis.get(profile_key(user_id, bundle.id)))
        assert profile.embedding.tolist() == [user, 1, 0.5]
        assert profile.memberships == profile_of(user, 1).memberships
        assert decode_events(redis.get(history_key(user_id))) == events_of(user)
        hashes = decode_seen(redis.get(seen_key(user_id))).tolist()
        assert hashes == [item_hash(event.item_id) for event in events_of(user)]
    assert redis.dbsize() == 3 * len(USERS) + 2  # and the sets of bundles


def test_live_history_is_never_overwritten(redis: Redis, tmp_path: Path) -> None:
    publish(make_bundle(tmp_path), redis)
    live = HistoryEvent(ItemId("new"), 5_000)
    redis.append(history_key("ann"), encode_events([live]))
    redis.append(seen_key("ann"), encode_seen(["new"]))
    publish(make_bundle(tmp_path, version=2), redis)
    assert decode_events(redis.get(history_key("ann"))) == [*events_of(0), live]
    assert item_hash("new") in decode_seen(redis.get(seen_key("ann")))
    assert decode_profile(redis.get(profile_key("ann", "b-2"))).embedding[1] == 2


def test_a_user_who_came_before_the_first_publish_keeps_the_live_history(redis: Redis, tmp_path: Path) -> None:
    live = encode_events([HistoryEvent(ItemId("x"), 2_000)])
    redis.set(history_key("bob"), live)
    redis.set(seen_key("bob"), encode_seen(["x"]))
    publish(make_bundle(tmp_path), redis)
    assert redis.get(history_key("bob")) == live
    assert set(decode_seen(redis.get(seen_key("bob"))).tolist()) == {
        item_hash("x"),
        *(item_hash(event.item_id) for event in events_of(1)),
    }


def test_a_damaged_seen_set_is_mended_where_something_is_added(redis: Redis, tmp_path: Path) -> None:
    """Else all that is ever added would stand askew, and nothing of it could be read."""
    redis.set(seen_key("bob"), encode_seen(["x"]) + b"cut")
    publish(make_bundle(tmp_path), redis)
    ids = ["x", *(event.item_id for event in events_of(1))]
    assert redis.get(seen_key("bob")) == encode_seen(ids)


@pytest.mark.parametrize("stored", [encode_events([HistoryEvent(ItemId("x"), 1)]), b"", b"damaged"])
def test_a_history_that_reaches_further_replaces_the_stored_one(redis: Redis, tmp_path: Path, stored: bytes) -> None:
    redis.set(history_key("bob"), stored)
    publish(make_bundle(tmp_path), redis)
    assert decode_events(redis.get(history_key("bob"))) == events_of(1)


def test_an_event_that_comes_while_publishing_is_not_lost(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading a history and writing it, somebody appends."""
    live = HistoryEvent(ItemId("live"), 9_000)
    read = publisher._last_time

    def appending(history: bytes) -> int:
        redis.set(history_key("bob"), encode_events([live]))
        return read(history)

    redis.set(history_key("bob"), encode_events([HistoryEvent(ItemId("x"), 1)]))
    monkeypatch.setattr(publisher, "_last_time", appending)
    publish(make_bundle(tmp_path), redis)
    assert decode_events(redis.get(history_key("bob"))) == [live]


def test_unpublishing_deletes_a_bundles_profiles_and_nothing_else(redis: Redis, tmp_path: Path) -> None:
    for version in (1, 2):
        publish(make_bundle(tmp_path, version), redis)
    activate("b-2", redis)
    with pytest.raises(BundleError, match="b-2: is the current bundle"):
        unpublish("b-2", redis)
    assert unpublish("b-1", redis) == len(USERS)
    assert bundles(redis) == {"b-2"}
    assert redis.smembers(HELD_BUNDLES) == {b"b-2"}
    assert redis.get(profile_key("ann", "b-1")) is None
    assert all(redis.exists(profile_key(user, "b-2"), history_key(user), seen_key(user)) == 3 for user in USERS)


def test_bundles_profiles_stand_side_by_side(redis: Redis, tmp_path: Path) -> None:
    for version in (1, 2):
        publish(make_bundle(tmp_path, version), redis)
    versions = [decode_profile(redis.get(profile_key("bob", f"b-{v}"))).embedding[1] for v in (1, 2)]
    assert versions == [1, 2]
    assert bundles(redis) == {"b-1", "b-2"}


def test_publishing_again_changes_nothing(redis: Redis, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    publish(bundle, redis)
    before = {key: redis.dump(key) for key in redis.scan_iter()}
    publish(bundle, redis)
    assert {key: redis.dump(key) for key in redis.scan_iter()} == before


def test_publishing_does_not_move_the_pointer(redis: Redis, tmp_path: Path) -> None:
    publish(make_bundle(tmp_path), redis)
    assert current_bundle(redis) is None


def test_users_are_written_in_slices(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PIPELINE_USERS", 2)
    sizes: list[int] = []

    def progress(slices: Any, n_slices: int) -> Iterator[pl.DataFrame]:
        sizes.append(n_slices)
        for part in slices:
            sizes.append(len(part))
            yield part

    assert publish(make_bundle(tmp_path), redis, progress) == len(USERS)
    assert sizes == [2, 2, 1]
    assert all(redis.exists(profile_key(user_id, "b-1")) for user_id in USERS)


def test_a_bundle_counts_as_published_when_all_its_users_are_there(redis: Redis, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)

    def breaks(slices: Any, n_slices: int) -> Iterator[pl.DataFrame]:
        yield next(iter(slices)).head(1)
        raise RedisConnectionError

    with pytest.raises(RedisConnectionError):
        publish(bundle, redis, breaks)
    assert redis.exists(profile_key(USERS[0], bundle.id))
    assert bundles(redis) == set()
    with pytest.raises(BundleError, match="b-1: is not published; published are: none"):
        activate(bundle.id, redis)


def test_activating_moves_the_pointer_and_tells_the_gateways(redis: Redis, tmp_path: Path) -> None:
    publish(make_bundle(tmp_path), redis)
    with redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(BUNDLE_CHANNEL)
        listener.get_message(timeout=2)  # the confirmation
        activate("b-1", redis)
        message = listener.get_message(timeout=2)
    assert message is not None
    assert message["data"] == b"b-1"
    assert current_bundle(redis) == "b-1"


def test_an_unpublished_bundle_is_refused_and_the_current_one_stays(redis: Redis, tmp_path: Path) -> None:
    publish(make_bundle(tmp_path), redis)
    activate("b-1", redis)
    with pytest.raises(BundleError, match="b-9: is not published; published are: b-1"):
        activate("b-9", redis)
    assert current_bundle(redis) == "b-1"


def test_rollback_goes_back_and_forth(redis: Redis, tmp_path: Path) -> None:
    for version in (1, 2):
        publish(make_bundle(tmp_path, version), redis)
        activate(f"b-{version}", redis)
    assert [rollback(redis), current_bundle(redis)] == ["b-1", "b-1"]
    assert [rollback(redis), current_bundle(redis)] == ["b-2", "b-2"]


def test_activating_the_current_bundle_again_keeps_the_one_before(redis: Redis, tmp_path: Path) -> None:
    for version in (1, 2):
        publish(make_bundle(tmp_path, version), redis)
        activate(f"b-{version}", redis)
    activate("b-2", redis)
    assert rollback(redis) == "b-1"


def test_without_a_bundle_before_there_is_no_rollback(redis: Redis, tmp_path: Path) -> None:
    publish(make_bundle(tmp_path), redis)
    activate("b-1", redis)
    with pytest.raises(BundleError, match="no bundle was current before"):
        rollback(redis)
    assert current_bundle(redis) == "b-1"


def test_whoever_sees_the_pointer_finds_every_profile(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that publishing and activating send, in order: the pointer is the last write."""
    with redis.monitor() as monitor:
        with Redis.from_url(f"unix://{redis.connection_pool.connection_kwargs['path']}") as writer:
            publish(make_bundle(tmp_path), writer)
            activate("b-1", writer)
            writer.echo("end")
        commands: list[str] = []
        while not commands or not commands[-1].startswith("ECHO"):
            commands.append(monitor.next_command()["command"])
    writes = [command.split()[:2] for command in commands if command.startswith(("SET ", "APPEND "))]
    assert writes[-1] == ["SET", CURRENT_BUNDLE]
    assert len(writes) == 3 * len(USERS) + 1


def delete(redis: Redis, user_id: str, at: float) -> None:
    """What the gateway does, as far as publishing looks at it."""
    redis.hset(DELETED_USERS, user_hash(user_id), int(at))
    redis.delete(profile_key(user_id, "b-1"), history_key(user_id), seen_key(user_id))


CREATED, LAST = datetime.fromisoformat(CREATED_AT).timestamp(), events_of(1)[-1].timestamp


@pytest.mark.parametrize(
    ("deleted", "comes_back"), [(LAST - 1, True), (LAST, False), (CREATED - 1, False), (CREATED + 10**7, False)]
)
def test_what_was_known_before_a_deletion_does_not_bring_the_user_back(
    redis: Redis, tmp_path: Path, deleted: int, comes_back: bool
) -> None:
    """Not even where the bundle was made after it, out of data that were read before."""
    bundle = make_bundle(tmp_path)
    publish(bundle, redis)
    delete(redis, "bob", deleted)
    assert publish(bundle, redis) == len(USERS) - (not comes_back)
    kept = [profile_key("bob", "b-1"), history_key("bob"), seen_key("bob")]
    assert redis.exists(*kept) == (3 if comes_back else 0)
    assert redis.exists(profile_key("ann", "b-1"))


def test_a_user_who_comes_back_is_a_new_user(redis: Redis, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    delete(redis, "bob", bundle.created_seconds + 1)
    live = encode_events([HistoryEvent(ItemId("new"), 1)])
    redis.set(history_key("bob"), live)
    publish(bundle, redis)
    assert redis.get(history_key("bob")) == live
    assert redis.exists(profile_key("bob", "b-1"), seen_key("bob")) == 0


async def delete_through_the_gateway(redis: Redis, user_id: str) -> None:
    store = RedisStore(f"unix://{redis.connection_pool.connection_kwargs['path']}", 1.0)
    try:
        await UserStore(store, 0.0).delete(user_id, time.time())
    finally:
        await store.close()


@pytest.mark.parametrize("when", ["before the slice", "after the slice"])
def test_who_is_deleted_while_a_bundle_is_published_is_not_in_it(redis: Redis, tmp_path: Path, when: str) -> None:
    """The bundle is none of the published ones yet; the gateway deletes its profiles all the same."""
    bundle = make_bundle(tmp_path)

    def deleting(slices: Any, n_slices: int) -> Iterator[pl.DataFrame]:
        if when == "before the slice":
            asyncio.run(delete_through_the_gateway(redis, "bob"))
        yield from slices
        if when == "after the slice":
            assert bundles(redis) == set()
            asyncio.run(delete_through_the_gateway(redis, "bob"))

    publish(bundle, redis, deleting)
    assert not redis.exists(profile_key("bob", bundle.id), history_key("bob"), seen_key("bob"))
    assert redis.exists(profile_key("ann", bundle.id))


def test_who_is_deleted_after_a_publication_that_was_cut_off_has_no_profile_of_it(redis: Redis, tmp_path: Path) -> None:
    def cut_off(slices: Any, n_slices: int) -> Iterator[pl.DataFrame]:
        yield from slices
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(make_bundle(tmp_path), redis, cut_off)
    assert redis.exists(profile_key("bob", "b-1"))
    asyncio.run(delete_through_the_gateway(redis, "bob"))
    assert redis.keys("*bob*") == []


def act(redis: Redis, user_id: str, item_id: str, seconds: int) -> None:
    """An event, written as the gateway writes it."""
    event = NewEvent(Event(f"of {item_id}", "click", user_id, item_id, seconds * 1_000), False)
    redis.eval(SCRIPT, 4, *keys_of(user_id), *arguments([event], EventSettings()))


def test_a_users_first_event_that_comes_between_reading_and_writing_stays(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = publisher._unseen

    def acting(published: bytes, stored: bytes) -> bytes:
        act(redis, "bob", "live", 1)
        return read(published, stored)

    monkeypatch.setattr(publisher, "_unseen", acting)
    publish(make_bundle(tmp_path), redis)
    assert [event.item_id for event in decode_events(redis.get(history_key("bob")))] == ["live"]
    published = {item_hash(event.item_id) for event in events_of(1)}
    assert set(decode_seen(redis.get(seen_key("bob"))).tolist()) == {item_hash("live"), *published}


def test_events_and_publishing_at_once_lose_nothing(redis: Redis, tmp_path: Path) -> None:
    """Live events go on while bundles are published over and over: all of them stay, and so does what was published."""
    bundles_ = [make_bundle(tmp_path, version) for version in (1, 2)]
    stop = threading.Event()

    def keep_publishing() -> None:
        with Redis(connection_pool=redis.connection_pool) as writer:
            while not stop.is_set():
                for bundle in bundles_:
                    publish(bundle, writer)

    thread = threading.Thread(target=keep_publishing)
    thread.start()
    try:
        for number in range(300):
            act(redis, USERS[number % len(USERS)], f"live{number}", 2_000 + number)
    finally:
        stop.set()
        thread.join()
    for user, user_id in enumerate(USERS):
        live = [f"live{number}" for number in range(user, 300, len(USERS))]
        stored = [event.item_id for event in decode_events(redis.get(history_key(user_id)))]
        assert stored[-len(live) :] == live
        seen = set(decode_seen(redis.get(seen_key(user_id))).tolist())
        assert seen == {item_hash(item) for item in [*live, *(event.item_id for event in events_of(user))]}
