"""Bodies of ``POST /events``: what they become, and what is wrong with them."""

import json
from typing import Any

import pytest

from models.contract.records import Event
from service.gateway.api.events import parse_events
from service.gateway.errors import ApiError
from service.gateway.store.event_script import NewEvent

NOW = 1_800_000_000.5
CLICK: dict[str, Any] = {"type": "click", "user_id": "u", "item_id": "i"}


def parse(body: Any) -> list[NewEvent]:
    return parse_events(json.dumps(body).encode(), NOW)


def test_an_event_has_all_its_fields():
    full = {"event_id": "e", "timestamp": 5.25, "value": 4, "request_id": "r", "context": {"page": "home", "n": 1.5}}
    (new,) = parse(CLICK | full)
    assert new == NewEvent(Event("e", "click", "u", "i", 5_250, 4.0, "r", {"page": "home", "n": 1.5}), False)


def test_what_is_left_out_is_made():
    first, second = parse({"events": [CLICK, CLICK]})
    assert first.event.event_id != second.event.event_id
    assert len(first.event.event_id) == 16
    assert (first.event.timestamp_ms, first.is_stamped) == (1_800_000_000_500, True)


@pytest.mark.parametrize("timestamp", [0, 1_700_000_000, NOW])
def test_times_up_to_now_are_taken(timestamp: float):
    (new,) = parse(CLICK | {"timestamp": timestamp})
    assert (new.event.timestamp_ms, new.is_stamped) == (int(timestamp * 1_000), False)


@pytest.mark.parametrize("ahead", [0.001, 60, 86_399])
def test_a_clock_that_is_ahead_means_now(ahead: float):
    """Else an export would take the event for one that came after its user was deleted, and keep it."""
    (new,) = parse(CLICK | {"timestamp": NOW + ahead})
    assert (new.event.timestamp_ms, new.is_stamped) == (int(NOW * 1_000), True)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("type", {"type": "buy"}),
    ("type", {"type": None}),
    ("user_id", {"user_id": ""}),
    ("user_id", {"user_id": 7}),
    ("item_id", {"item_id": "a\nb"}),
    ("item_id", {"item_id": "é" * 128}),
    ("event_id", {"event_id": ""}),
    ("event_id", {"event_id": "e" * 129}),
    ("event_id", {"event_id": "a\x00"}),
    ("timestamp", {"timestamp": NOW + 86_401}),
    ("timestamp", {"timestamp": NOW * 1_000}),
    ("timestamp", {"timestamp": -1}),
    ("timestamp", {"timestamp": "2026-01-01"}),
    ("timestamp", {"timestamp": True}),
    ("timestamp", {"timestamp": float("nan")}),
    ("value", {"value": float("inf")}),
    ("value", {"value": 10**400}),
    ("value", {"value": "5"}),
    ("value", {"type": "rating"}),
    ("request_id", {"request_id": ""}),
    ("context.deep", {"context": {"deep": {"er": 1}}}),
    ("context", {"context": {f"k{number}": 1 for number in range(21)}}),
    ("surprise", {"surprise": 1}),
]


@pytest.mark.parametrize(("field", "change"), BAD, ids=str)
def test_a_bad_event_is_named_alone_and_among_others(field: str, change: dict[str, Any]):
    for body, where in ((CLICK | change, field), ({"events": [CLICK, CLICK | change]}, f"events.1.{field}")):
        with pytest.raises(ApiError) as caught:
            parse(body)
        named = caught.value.field or ""
        assert (caught.value.status, caught.value.code) == (422, "invalid_request")
        assert named == where or (field.startswith("context") and named.startswith(where))


@pytest.mark.parametrize("missing", ["type", "user_id", "item_id"])
def test_a_field_that_is_missing_is_named(missing: str):
    with pytest.raises(ApiError) as caught:
        parse({"events": [{key: value for key, value in CLICK.items() if key != missing}]})
    assert caught.value.field == f"events.0.{missing}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": []}, "events"),
        ({"events": [CLICK] * 501}, "events"),
        ({"events": CLICK}, "events"),
        ({"events": [[]]}, "events.0"),
        ({"events": [CLICK], "user_id": "u"}, "user_id"),
        ([CLICK], None),
        (None, None),
        ("click", None),
    ],
)
def test_another_shape_is_refused(body: Any, field: str | None):
    with pytest.raises(ApiError) as caught:
        parse(body)
    assert (caught.value.code, caught.value.field) == ("invalid_request", field)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"type": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes):
    with pytest.raises(ApiError) as caught:
        parse_events(body, NOW)
    assert (caught.value.status, caught.value.code) == (422, "invalid_json")


def test_five_hundred_are_taken():
    assert len(parse({"events": [CLICK] * 500})) == 500
