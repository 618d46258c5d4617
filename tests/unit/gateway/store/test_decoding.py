"""A damaged value counts as absent, and is named; a profile of another history is noticed."""

from dataclasses import replace

import numpy as np
import pytest

from models.contract.redis_schema import (
    encode_events,
    encode_profile,
    encode_seen,
    encode_shown,
    history_digest,
    item_hash,
)
from models.contract.types import HistoryEvent, ItemId, Profile
from service.gateway.store.decoding import decode_user
from service.gateway.types import StoredUser

HISTORY = encode_events([HistoryEvent(ItemId("a"), 1)])
LONGER = HISTORY + encode_events([HistoryEvent(ItemId("b"), 2)])
PROFILE = Profile(np.zeros(2, np.float32), (), history_digest(HISTORY))


def test_all_that_is_stored_is_decoded():
    history = encode_events([HistoryEvent(ItemId("a"), 1)])
    state = decode_user(StoredUser(None, history, encode_seen(["b"]), encode_shown(["c"], 5)))
    assert (state.profile, state.history, state.unreadable) == (None, ("a",), ())
    assert state.seen.tolist() == [item_hash("b")]
    assert state.shown.tolist() == [(item_hash("c"), 5)]


def test_damaged_values_are_absent_and_named():
    state = decode_user(StoredUser(b"\x00", b"\x00", b"\x00", b"\x00"))
    assert (state.profile, state.history, len(state.seen), len(state.shown)) == (None, (), 0, 0)
    assert state.unreadable == ("profile", "history", "seen", "shown")


def test_a_users_version_changes_with_each_value():
    values = (StoredUser(), StoredUser(b"1"), StoredUser(None, b"1"), StoredUser(seen=b"1"), StoredUser(shown=b"1"))
    assert len({stored.version() for stored in values}) == len(values)


@pytest.mark.parametrize(
    ("profile", "history", "changed"),
    [
        (PROFILE, HISTORY, False),
        (PROFILE, LONGER, True),
        (PROFILE, None, True),
        (PROFILE, b"damaged", False),  # nobody knows what it was
        (replace(PROFILE, digest=None), LONGER, False),  # published before there were digests
        (replace(PROFILE, digest=0), None, False),
    ],
)
def test_a_history_that_is_another_one_is_noticed(profile: Profile, history: bytes | None, changed: bool):
    assert decode_user(StoredUser(encode_profile(profile), history)).changed is changed


def test_without_a_profile_nothing_has_changed():
    assert not decode_user(StoredUser(None, HISTORY)).changed
