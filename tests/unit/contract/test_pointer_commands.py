"""What moving the pointer writes."""

import pytest

from models.contract.pointer import activation
from models.contract.redis_schema import BUNDLE_CHANNEL, CURRENT_BUNDLE, PREVIOUS_BUNDLE


@pytest.mark.parametrize(("current", "previous"), [(None, []), ("b", []), ("a", [("SET", PREVIOUS_BUNDLE, "a")])])
def test_what_was_current_is_kept_unless_it_stays_current(current: str | None, previous: list[tuple[str, ...]]):
    moved = [("SET", CURRENT_BUNDLE, "b"), ("PUBLISH", BUNDLE_CHANNEL, "b")]
    assert activation("b", current) == previous + moved
