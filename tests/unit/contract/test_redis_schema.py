"""The bytes in Redis: round trips, and that nothing but FormatError comes of damaged ones."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.contract.redis_schema import (
    FormatError,
    decode_events,
    decode_item_ids,
    decode_profile,
    decode_seen,
    decode_shown,
    encode_events,
    encode_profile,
    encode_seen,
    encode_shown,
    history_digest,
    history_key,
    item_hash,
    profile_key,
    seen_key,
    shown_key,
)
from models.contract.types import HistoryEvent, ItemId, Membership, Profile

halves = st.floats(width=16, allow_nan=False, allow_infinity=False)
item_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).map(ItemId)
events = st.lists(st.builds(HistoryEvent, item_ids, st.integers(0, 2**32 - 1)), max_size=8)
memberships = st.lists(st.builds(Membership, st.integers(0, 2**16 - 1), halves, halves), max_size=12).map(tuple)


digests = st.none() | st.integers(0, 2**32 - 1)


def profile(embedding: list[float], members: tuple[Membership, ...] = (), digest: int | None = None) -> Profile:
    return Profile(np.asarray(embedding, np.float32), members, digest)


def test_keys_of_one_user_share_a_hash_tag() -> None:
    assert profile_key("ann", "b-1") == "lr:{u:ann}:p:b-1"
    assert history_key("ann") == "lr:{u:ann}:h"
    assert seen_key("ann") == "lr:{u:ann}:s"
    assert shown_key("ann") == "lr:{u:ann}:x"


class TestProfile:
    @given(embedding=st.lists(halves, max_size=40), members=memberships, digest=digests)
    def test_round_trip_of_float16_values_is_exact(
        self, embedding: list[float], members: tuple[Membership, ...], digest: int | None
    ) -> None:
        decoded = decode_profile(encode_profile(profile(embedding, members, digest)))

        assert decoded.embedding.tolist() == embedding
        assert decoded.embedding.dtype == np.float32
        assert decoded.memberships == members
        assert decoded.digest == digest

    def test_what_was_published_before_there_were_digests_is_read(self) -> None:
        decoded = decode_profile(b"\x01\x01\x00\x01\x00\x00\x3c\x07\x00\x00\x38\x00\x34")

        assert decoded.embedding.tolist() == [1.0]
        assert (decoded.memberships, decoded.digest) == ((Membership(7, 0.5, 0.25),), None)

    def test_size_is_what_the_million_users_were_planned_with(self) -> None:
        members = tuple(Membership(number, 0.5) for number in range(9))

        assert len(encode_profile(profile([0.0] * 128, members, 0))) == 5 + 2 * 128 + 6 * 9 + 4

    @given(st.binary(max_size=80))
    @example(b"")
    @example(b"\x01")
    @example(b"\x01\x01\x00\x00\x00\x00\x7c")  # one dimension: infinity
    def test_any_bytes_decode_or_raise_format_error(self, value: bytes) -> None:
        try:
            decoded = decode_profile(value)
        except FormatError:
            return
        assert encode_profile(decoded) == value

    @given(st.integers(0, 20), st.lists(halves, min_size=1, max_size=3), memberships, digests)
    def test_a_cut_value_is_refused(
        self, kept: int, embedding: list[float], members: tuple[Membership, ...], digest: int | None
    ) -> None:
        value = encode_profile(profile(embedding, members, digest))

        with pytest.raises(FormatError, match="profile"):
            decode_profile(value[: min(kept, len(value) - 1)])

    def test_a_longer_value_and_another_version_are_refused(self) -> None:
        value = encode_profile(profile([1.0]))

        with pytest.raises(FormatError, match="8 bytes do not hold 1 dimensions and 0 memberships"):
            decode_profile(value + b"\x00")
        with pytest.raises(FormatError, match="7 bytes do not hold 1 dimensions and 0 memberships"):
            decode_profile(b"\x02" + value[1:])
        with pytest.raises(FormatError, match="expected version 1 or 2, got 03"):
            decode_profile(b"\x03" + value[1:])

    @pytest.mark.parametrize("damaged", [np.nan, np.inf])
    def test_what_is_no_finite_number_is_refused(self, damaged: float) -> None:
        for broken in (
            profile([0.5, damaged]),
            profile([0.5], (Membership(0, damaged),)),
            profile([0.5], (Membership(0, 0.5, damaged),)),
        ):
            with pytest.raises(FormatError, match="not finite"):
                decode_profile(encode_profile(broken))


class TestHistory:
    def test_another_history_has_another_digest(self) -> None:
        value = encode_events([HistoryEvent(ItemId("a"), 1)])
        assert history_digest(value) == 1_496_322_697
        assert history_digest(value + value) != history_digest(value)
        assert history_digest(None) == history_digest(b"") == 0

    @given(events)
    def test_round_trip(self, written: list[HistoryEvent]) -> None:
        assert decode_events(encode_events(written)) == written
        assert decode_item_ids(encode_events(written)) == tuple(event.item_id for event in written)

    @given(events, events)
    def test_concatenation_appends(self, older: list[HistoryEvent], newer: list[HistoryEvent]) -> None:
        assert decode_events(encode_events(older) + encode_events(newer)) == older + newer

    @pytest.mark.parametrize("decode", [decode_events, decode_item_ids])
    @given(value=st.binary(max_size=60))
    @example(b"\x00\x00\x00\x00\x00")  # an empty item id
    @example(b"\x00\x00\x00\x00\x02a")  # shorter than it says
    @example(b"\x00\x00\x00\x00\x01\xff")  # no UTF-8
    def test_any_bytes_decode_or_raise_format_error(self, decode: Callable[[bytes], Any], value: bytes) -> None:
        try:
            decode(value)
        except FormatError:
            return
        assert encode_events(decode_events(value)) == value

    @given(events.filter(bool), st.integers(1, 5))
    def test_a_value_cut_inside_its_last_event_is_refused(self, written: list[HistoryEvent], lost: int) -> None:
        with pytest.raises(FormatError, match="history"):
            decode_events(encode_events(written)[:-lost])

    @pytest.mark.parametrize("item_id", ["", "x" * 256, "é" * 128])
    def test_an_item_id_must_fit(self, item_id: str) -> None:
        with pytest.raises(FormatError, match="item id: expected 1 to 255 bytes, got"):
            encode_events([HistoryEvent(ItemId(item_id), 0)])

    @pytest.mark.parametrize("timestamp", [-1, 2**32, 1_700_000_000_000])
    def test_a_time_must_fit(self, timestamp: int) -> None:
        with pytest.raises(FormatError, match=f"timestamp: .* got {timestamp}"):
            encode_events([HistoryEvent(ItemId("a"), timestamp)])


class TestSeen:
    @given(st.lists(item_ids, max_size=8), st.lists(item_ids, max_size=8))
    def test_concatenation_is_union(self, some: list[ItemId], more: list[ItemId]) -> None:
        decoded = decode_seen(encode_seen(some) + encode_seen(more))

        assert decoded.tolist() == [item_hash(item_id) for item_id in some + more]

    @given(st.binary(max_size=40))
    def test_any_bytes_decode_or_raise_format_error(self, value: bytes) -> None:
        if len(value) % 8:
            with pytest.raises(FormatError, match=r"seen set: .* no multiple of 8"):
                decode_seen(value)
        else:
            assert decode_seen(value).tolist() == list(struct.unpack(f"<{len(value) // 8}Q", value))

    def test_a_hash_is_for_ever(self) -> None:
        assert item_hash("i1") == 778860755400141486


class TestShown:
    @given(st.lists(item_ids, max_size=5), st.lists(item_ids, max_size=5), st.integers(0, 2**32 - 1))
    def test_concatenation_appends_a_list_of_twelve_bytes_an_item(
        self, older: list[ItemId], newer: list[ItemId], timestamp: int
    ) -> None:
        value = encode_shown(older, 7) + encode_shown(newer, timestamp)

        assert len(value) == 12 * len(older + newer)
        written = [(item_hash(i), 7) for i in older] + [(item_hash(i), timestamp) for i in newer]
        assert decode_shown(value).tolist() == written

    @given(st.binary(max_size=60))
    def test_any_bytes_decode_or_raise_format_error(self, value: bytes) -> None:
        if len(value) % 12:
            with pytest.raises(FormatError, match=r"shown: .* no multiple of 12"):
                decode_shown(value)
        else:
            assert decode_shown(value).tobytes() == value

    @pytest.mark.parametrize("timestamp", [-1, 2**32])
    def test_a_time_must_fit(self, timestamp: int) -> None:
        with pytest.raises(FormatError, match=f"timestamp: .* got {timestamp}"):
            encode_shown(["a"], timestamp)
