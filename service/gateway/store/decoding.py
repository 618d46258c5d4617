"""From the bytes in Redis to what is known of a user."""

from collections.abc import Callable
from typing import TypeVar

from models.contract.redis_schema import (
    FormatError,
    decode_item_ids,
    decode_profile,
    decode_seen,
    decode_shown,
    history_digest,
)
from models.contract.types import ItemId, Profile
from service.gateway.types import NO_HASHES, NO_SHOWN, StoredUser, UserState

T = TypeVar("T")


def decode_user(stored: StoredUser) -> UserState:
    """The values of a user. One that is damaged counts as absent, and is named."""
    unreadable: list[str] = []
    profile = _decode("profile", _decode_profile, stored.profile, None, unreadable)
    history: tuple[ItemId, ...] = _decode("history", decode_item_ids, stored.history, (), unreadable)
    seen = _decode("seen", decode_seen, stored.seen, NO_HASHES, unreadable)
    changed = "history" not in unreadable and has_changed(profile, stored.history)
    shown = _decode("shown", decode_shown, stored.shown, NO_SHOWN, unreadable)
    return UserState(profile, history, seen, shown, tuple(unreadable), changed)


def has_changed(profile: Profile | None, history: bytes | None) -> bool:
    """Whether a profile knows the history that it was made from, and that is not the stored one."""
    return profile is not None and profile.digest not in {None, history_digest(history)}


def _decode_profile(value: bytes) -> Profile | None:
    return decode_profile(value)


def _decode(name: str, decode: Callable[[bytes], T], value: bytes | None, absent: T, unreadable: list[str]) -> T:
    if value is None:
        return absent
    try:
        return decode(value)
    except FormatError:
        unreadable.append(name)
        return absent
