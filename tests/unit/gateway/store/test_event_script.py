"""The script in a real redis-server against the same rules in Python."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from models.contract.records import Event, decode_recorded_events
from models.contract.redis_schema import (
    EVENTS,
    decode_events,
    decode_seen,
    encode_events,
    event_ids_key,
    history_key,
    item_hash,
    seen_key,
)
from models.contract.types import HistoryEvent, ItemId
from service.gateway.store import event_script
from service.gateway.store.event_script import SCRIPT, NewEvent, arguments, keys_of
from service.gateway.store.settings import EventSettings

pytestmark = pytest.mark.redis

KEPT_IDS = 6
SETTINGS = EventSettings(
    history=("click", "rating"), seen=("view", "rating"), min_rating=3, history_kept=4, seen_kept=5, stream_kept=1_000
)


@pytest.fixture
def redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    monkeypatch.setattr(event_script, "IDS_KEPT", KEPT_IDS)
    with Redis.from_url(redis_url) as client:
        yield client


def call(redis: Redis, events: list[NewEvent], settings: EventSettings = SETTINGS) -> list[int]:
    answer: list[int] = redis.eval(SCRIPT, 4, *keys_of("u"), *arguments(events, settings))
    return answer


@dataclass
class Oracle:
    """What a user's values should be, in plain words."""

    history: list[HistoryEvent] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    stream: list[list[Event]] = field(default_factory=list)

    def call(self, events: list[NewEvent]) -> list[int]:
        known, before, seen, accepted = set(self.ids), len(self.ids), set(self.seen), []
        for new in events:
            event = new.event
            accepted.append(int(event.event_id not in known))
            if event.event_id in known:
                continue
            known.add(event.event_id)
            self.ids.append(event.event_id)
            if event.type in {"view", "rating"} and event.item_id not in seen:
                seen.add(event.item_id)
                self.seen.append(event.item_id)
            if event.type == "click" or (event.type == "rating" and (event.value or 0) >= 3):
                self._insert(event, new.is_stamped)
        if len(self.ids) > before:
            self.stream.append([new.event for new, is_new in zip(events, accepted, strict=True) if is_new])
        self.history, self.seen, self.ids = self.history[-4:], self.seen[-5:], self.ids[-KEPT_IDS:]
        return accepted

    def _insert(self, event: Event, is_stamped: bool) -> None:
        time = event.timestamp_ms // 1_000
        if is_stamped and self.history:
            time = max(time, self.history[-1].timestamp)
        self.history.append(HistoryEvent(ItemId(event.item_id), time))
        self.history.sort(key=lambda entry: entry.timestamp)  # stable: equal times in the order of arrival


new_events = st.builds(
    NewEvent,
    st.builds(
        Event,
        event_id=st.sampled_from([f"e{number}" for number in range(12)]),
        type=st.sampled_from(["view", "click", "rating"]),
        user_id=st.just("u"),
        item_id=st.sampled_from(["a", "b", "ç", "long" * 20, "e", "f", "g", "h"]),
        timestamp_ms=st.sampled_from([0, 999, 5_000, 2**31 * 1_000, (2**32 - 1) * 1_000]),
        value=st.sampled_from([1.0, 2.5, 3.0, 5.0]),
    ),
    st.booleans(),
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.lists(new_events, min_size=1, max_size=6), max_size=6))
def test_script_does_what_the_rules_say(redis: Redis, calls: list[list[NewEvent]]):
    redis.flushall()
    oracle = Oracle()
    for events in calls:
        assert call(redis, events) == oracle.call(events)
    assert decode_events(redis.get(history_key("u")) or b"") == oracle.history
    assert decode_seen(redis.get(seen_key("u")) or b"").tolist() == [item_hash(item) for item in oracle.seen]
    assert decode_seen(redis.get(event_ids_key("u")) or b"").tolist() == [item_hash(event) for event in oracle.ids]
    assert [decode_recorded_events(fields) for _, fields in redis.xrange(EVENTS)] == oracle.stream


def click(event_id: str, item_id: str = "a", seconds: int = 10, is_stamped: bool = False) -> NewEvent:
    return NewEvent(Event(event_id, "click", "u", item_id, seconds * 1_000), is_stamped)


def test_a_published_history_grows_in_order(redis: Redis):
    redis.set(history_key("u"), encode_events([HistoryEvent(ItemId("x"), 5), HistoryEvent(ItemId("y"), 20)]))
    call(redis, [click("1", "late", 7), click("2", "now", 12, is_stamped=True)])
    stored = [(event.item_id, event.timestamp) for event in decode_events(redis.get(history_key("u")))]
    assert stored == [("x", 5), ("late", 7), ("y", 20), ("now", 20)]


@pytest.mark.parametrize("damaged", [b"x", b"\x01\x00\x00\x00\x00", b"\x01\x00\x00\x00\x09abc", b"\x01\x00\x00\x00"])
def test_a_damaged_history_begins_anew(redis: Redis, damaged: bytes):
    redis.set(history_key("u"), damaged)
    call(redis, [click("1")])
    assert decode_events(redis.get(history_key("u"))) == [HistoryEvent(ItemId("a"), 10)]


def test_a_damaged_seen_set_keeps_what_is_whole(redis: Redis):
    redis.set(seen_key("u"), b"12345678" + b"cut")
    view = NewEvent(Event("1", "view", "u", "a", 0), False)
    call(redis, [view])
    assert decode_seen(redis.get(seen_key("u"))).tolist() == [int.from_bytes(b"12345678", "little"), item_hash("a")]


def test_a_hash_across_two_others_is_not_there(redis: Redis):
    wanted = item_hash("a").to_bytes(8, "little")
    redis.set(seen_key("u"), b"1234" + wanted + b"5678")
    call(redis, [NewEvent(Event("1", "view", "u", "a", 0), False)])
    assert redis.get(seen_key("u")) == b"1234" + wanted + b"5678" + wanted


def test_only_event_ids_expire(redis: Redis):
    call(redis, [click("1"), NewEvent(Event("2", "view", "u", "a", 0), False)])
    week = 7 * 86_400
    assert week - 5 < redis.ttl(event_ids_key("u")) <= week
    assert redis.ttl(history_key("u")) == redis.ttl(seen_key("u")) == -1
    redis.expire(event_ids_key("u"), 100)
    call(redis, [click("1")])
    assert redis.ttl(event_ids_key("u")) <= 100  # a repetition is no event


def test_stream_is_capped(redis: Redis):
    capped = SETTINGS.model_copy(update={"stream_kept": 100})
    for number in range(500):
        call(redis, [click(str(number))], capped)
    assert 100 <= redis.xlen(EVENTS) < 300  # Redis cuts whole nodes of its tree, a hundred entries
