"""Whatever is asked in whatever order, a cache never holds more, nor longer, than it may."""

from hypothesis import given
from hypothesis import strategies as st

from service.gateway.traffic.entries import JITTER, Entries
from service.gateway.traffic.settings import CacheSettings

TTL, STALE, CAPACITY = 2.0, 1.0, 3
SETTINGS = CacheSettings(ttl_ms=2_000, stale_ms=1_000, entries=CAPACITY)
KEYS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS),
        st.tuples(st.just("get"), KEYS),
        st.tuples(st.just("wait"), st.floats(0, 4)),
    ),
    max_size=60,
)


@given(STEPS, st.floats(0, 0.999))
def test_what_is_found_was_put_last_under_its_key_and_is_young_enough(steps: list, spread: float):
    now = 0.0
    entries: Entries[int] = Entries(SETTINGS, lambda: now, lambda: spread)
    put: dict[int, tuple[int, float]] = {}
    for number, (what, value) in enumerate(steps):
        if what == "wait":
            now += value
        elif what == "put":
            entries.put(value, number)
            put[value] = number, now
        elif (found := entries.get(value)) is not None:
            number_put, at = put[value]
            assert found[0] == number_put
            age, fresh_for = now - at, TTL * (1 - JITTER * spread)
            assert age < fresh_for + STALE + 1e-9
            assert found[1] == (age < fresh_for) or abs(age - fresh_for) < 1e-9
        assert len(entries) <= CAPACITY


@given(st.lists(KEYS, min_size=1, max_size=40))
def test_the_least_recently_used_leave_first(keys: list[int]):
    entries: Entries[int] = Entries(SETTINGS, lambda: 0.0, lambda: 0.0)
    for key in keys:
        entries.put(key, key)
    recent = list(dict.fromkeys(reversed(keys)))
    assert [key for key in recent if entries.get(key)] == recent[:CAPACITY]


def test_a_look_counts_as_use():
    entries: Entries[int] = Entries(SETTINGS, lambda: 0.0, lambda: 0.0)
    for key in range(CAPACITY):
        entries.put(key, key)
    assert entries.get(0) == (0, True)
    entries.put(9, 9)
    assert entries.get(0) == (0, True)
    assert entries.get(1) is None


def test_what_is_too_old_goes_though_there_is_room_and_nobody_asks_for_it():
    """An answer holds its bundle: a quiet gateway would keep each one that it ever served."""
    now = 0.0
    settings = CacheSettings(ttl_ms=2_000, stale_ms=1_000, entries=1_000)
    entries: Entries[int] = Entries(settings, lambda: now, lambda: 0.0)
    for key in range(100):
        entries.put(key, key)
    now = TTL + STALE
    for key in range(100, 150):
        entries.put(key, key)
    assert len(entries) == 50
