"""Whether a profile is still that of the stored history."""

from dataclasses import replace

import numpy as np
import pytest

from models.contract.redis_schema import encode_events, encode_profile, history_digest
from models.contract.types import HistoryEvent, ItemId, Profile
from service.gateway.store.decoding import decode_user
from service.gateway.types import StoredUser

HISTORY = encode_events([HistoryEvent(ItemId("a"), 1)])
LONGER = HISTORY + encode_events([HistoryEvent(ItemId("b"), 2)])
PROFILE = Profile(np.zeros(2, np.float32), (), history_digest(HISTORY))


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
