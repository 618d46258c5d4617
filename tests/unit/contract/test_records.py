"""What the service records: round trips, and what is made of entries that another version wrote."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.records import (
    RECORDS_FIELD,
    Event,
    Exposure,
    decode_exposures,
    decode_recorded_events,
    encode_record,
    encode_records,
    without_user,
)
from models.contract.redis_schema import FormatError

texts = st.text(st.characters(exclude_categories=["Cs"]))
exposures = st.lists(
    st.builds(
        Exposure,
        request_id=texts,
        user_id=texts,
        bundle_id=texts,
        pipeline=texts,
        shadow=texts,
        experiments=st.dictionaries(texts, texts, max_size=3),
        items=st.lists(texts, max_size=5).map(tuple),
        sources=st.lists(texts, max_size=5).map(tuple),
        voters=st.lists(texts, max_size=5).map(tuple),
        latency_ms=st.floats(0, 1e6),
        context=st.dictionaries(texts, texts | st.booleans(), max_size=3),
    ),
    max_size=4,
)
events = st.lists(
    st.builds(Event, event_id=texts, user_id=texts, item_id=texts, value=st.none() | st.floats(-1e6, 1e6)), max_size=4
)


@given(exposures)
def test_exposures_come_back(shown: list[Exposure]):
    assert decode_exposures(encode_records(shown)) == shown


@given(events)
def test_events_come_back(done: list[Event]):
    assert decode_recorded_events(encode_records(done)) == done


def test_fields_of_another_version_are_ignored_and_absent_ones_have_defaults():
    entry = {
        b"e": b'[{"request_id":"r","user_id":"u","timestamp_ms":1,"bundle_id":"b","pipeline":"cf","experiments":{},'
        b'"items":["i"],"sources":["cf"],"invented_later":[1]}]'
    }
    assert decode_exposures(entry) == [Exposure("r", "u", 1, "b", "cf", {}, ("i",), ("cf",))]


@given(events)
def test_records_in_brackets_are_an_entry(done: list[Event]):
    value = b"[" + b",".join(map(encode_record, done)) + b"]"
    assert decode_recorded_events({RECORDS_FIELD: value}) == done


@given(events, texts)
def test_a_user_is_taken_out_and_the_others_are_left(done: list[Event], user_id: str):
    rest, n_gone = without_user(encode_records(done)[RECORDS_FIELD], user_id)
    others = [event for event in done if event.user_id != user_id]
    assert n_gone == len(done) - len(others)
    assert rest == (encode_records(others)[RECORDS_FIELD] if others or not n_gone else b"")


def test_what_another_version_wrote_of_others_stays_as_it_is():
    ann, bob = b'{"user_id":"ann"}', b'{"invented_later": [1.50], "user_id":"bob"}'
    assert without_user(b"[" + ann + b", " + bob + b"]", "ann") == (b"[" + bob + b"]", 1)


@pytest.mark.parametrize("damaged", [b'["ann"', b'["ann"]', b'"ann"', b'[{"id":"ann"}]'])
def test_damage_that_names_the_user_goes_as_a_whole(damaged: bytes):
    assert without_user(damaged, "ann") == (b"", 1)
    assert without_user(damaged, "bob") == (damaged, 0)


@pytest.mark.parametrize("fields", [{}, {b"e": b""}, {b"e": b"{}"}, {b"e": b"[{}]"}, {b"e": b"\xff"}], ids=str)
def test_nothing_but_a_format_error_comes_of_damage(fields: dict[bytes, Any]):
    with pytest.raises(FormatError):
        decode_exposures(fields)
    with pytest.raises(FormatError):
        decode_recorded_events(fields)
