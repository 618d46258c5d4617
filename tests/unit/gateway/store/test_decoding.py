"""A damaged value counts as absent, and is named."""

from models.contract.redis_schema import encode_events, encode_seen, encode_shown, item_hash
from models.contract.types import HistoryEvent, ItemId
from service.gateway.store.decoding import decode_user
from service.gateway.types import StoredUser


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
