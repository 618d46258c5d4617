"""The slots of one replica, by a clock that the test turns."""

import numpy as np
import pytest
from support.pools import Clock

from service.workers.demand import Demand
from service.workers.residency import STRANGER_SECONDS, Refusal, Residency
from service.workers.types import OutcomeKind


class Slots:
    """A residency, and what it hangs on."""

    def __init__(self, slots: int) -> None:
        self.clock = Clock()
        self.demand = Demand(self.clock)
        self.residency = Residency(slots, self.demand, self.clock)

    def bring(self, *names: str) -> None:
        for name in names:
            assert self.residency.admit(name, demanded=False) == ""
            self.residency.loaded(name)

    def demanded(self, name: str) -> str | None:
        self.demand.note([name])
        return self.residency.admit(name, demanded=True)


@pytest.fixture
def slots() -> Slots:
    made = Slots(2)
    made.residency.expect({"a": 0, "b": 0, "c": 0, "d": 0, "new": 1}, ["a", "b", "new"])
    return made


def test_free_slots_are_filled_and_a_load_that_runs_has_its_slot(slots: Slots) -> None:
    assert slots.residency.pending() == ["a", "b", "new"]
    assert slots.residency.admit("a", demanded=False) == ""
    assert slots.residency.admit("a", demanded=False) is None  # it is on its way
    slots.bring("b")
    with slots.residency.using(["b"]):
        assert slots.demanded("c") is None  # a is loading, b is used
    slots.residency.loaded("a")
    assert (slots.residency.names, slots.residency.pending()) == (("b", "a"), [])


def test_first_use_takes_the_slot_of_one_that_nobody_asks_for_the_least_recently_used(slots: Slots) -> None:
    slots.bring("a", "b")
    for name in ("b", "a"):
        slots.clock.now += 60
        slots.demand.note([name])
    slots.clock.now += 60
    assert slots.demanded("c") == "b"
    assert not slots.residency.holds("b")


def test_newcomer_must_be_clearly_hotter(slots: Slots) -> None:
    slots.bring("a", "b")
    for _ in range(3):
        slots.demand.note(["a", "b"])
    assert [slots.demanded("c") for _ in range(7)] == [None] * 6 + ["a"]
    slots.residency.loaded("c")
    assert slots.demanded("a") is None  # and does not come back at once


def test_what_a_call_uses_does_not_go(slots: Slots) -> None:
    slots.bring("a", "b")
    with slots.residency.using(["a", "gone"]):
        assert slots.residency.is_used("a")
        with slots.residency.using(["b"]):
            assert slots.demanded("c") is None
        assert slots.demanded("c") == "b"
    assert not slots.residency.is_used("a")


def test_bundle_in_service_takes_the_slots_of_others_and_they_never_its_own(slots: Slots) -> None:
    slots.bring("old", "new")  # of a bundle that is drained, of one that is coming
    slots.demand.note(["old"] * 5)
    assert slots.residency.pending() == ["a", "b"]
    assert slots.residency.admit("a", demanded=False) == "old"
    slots.residency.loaded("a")
    assert slots.residency.admit("b", demanded=False) == "new"
    slots.residency.loaded("b")
    assert [slots.demanded("new") for _ in range(9)] == [None] * 9
    assert slots.residency.pending() == []  # there is no room: nothing to wait for


def test_target_that_was_pushed_out_waits_for_a_free_slot(slots: Slots) -> None:
    slots.bring("a", "b")
    slots.clock.now += 60
    assert slots.demanded("c") == "a"
    slots.residency.loaded("c")
    assert slots.residency.pending() == []
    slots.residency.let_go("c")
    assert slots.residency.pending() == ["a", "new"]


def test_what_was_pushed_out_is_not_forgotten_when_the_same_targets_are_set_again(slots: Slots) -> None:
    slots.bring("a", "b")
    slots.clock.now += 60
    assert slots.demanded("c") == "a"
    slots.residency.loaded("c")
    slots.residency.expect({"a": 0, "b": 0, "c": 0, "d": 0}, ["a", "b"])
    assert slots.residency.pending() == []
    slots.residency.expect({"a": 0, "b": 0, "c": 0, "d": 0}, ["b"])
    slots.residency.expect({"a": 0, "b": 0, "c": 0, "d": 0}, ["a", "b"])
    assert slots.residency.pending() == ["a"]  # it is one anew


def test_new_target_takes_the_slot_of_what_is_only_a_guest(slots: Slots) -> None:
    """A replica has died: what it alone held comes here, in the place of what others hold, too."""
    slots.residency.expect({"a": 0, "b": 0, "c": 0}, ["a", "c"])
    slots.bring("a", "b")
    slots.demand.note(["b"] * 9)
    assert slots.residency.pending() == ["c"]
    assert slots.residency.admit("c", demanded=False) == "b"


def test_refused_adapter_is_tried_again_after_a_while_and_after_a_restart(slots: Slots) -> None:
    refusal = Refusal(OutcomeKind.UNTRUSTED, "another's", slots.clock.now + 60)
    for forgive in (lambda: setattr(slots.clock, "now", slots.clock.now + 60), slots.residency.restarted):
        assert slots.residency.admit("a", demanded=False) is not None
        slots.residency.refused("a", Refusal(refusal.kind, refusal.why, slots.clock.now + 60))
        assert slots.residency.refusal("a") is not None
        assert slots.residency.pending() == ["b", "new"]
        assert slots.demanded("a") is None
        forgive()
        assert slots.residency.pending()[0] == "a"
    assert slots.residency.refusals == {}


def test_refusal_is_reported_until_the_adapter_is_there(slots: Slots) -> None:
    slots.residency.refused("a", Refusal(OutcomeKind.NOT_FOUND, "no such file", slots.clock.now + 1))
    slots.clock.now += 2
    assert [refusal.why for refusal in slots.residency.refusals.values()] == ["no such file"]
    slots.bring("a")
    assert slots.residency.refusals == {}


def test_miss_counts_unless_the_adapter_came_after_the_question(slots: Slots) -> None:
    asked_at = slots.clock.now
    slots.clock.now += 1
    slots.bring("a")
    slots.residency.missed("a", asked_at)
    slots.residency.seen(["b"], asked_at)
    assert slots.residency.holds("a")
    slots.residency.missed("a", slots.clock.now)
    assert not slots.residency.holds("a")


def test_what_the_worker_no_longer_lists_is_gone(slots: Slots) -> None:
    slots.bring("a", "b")
    slots.clock.now += 1
    slots.residency.seen(["b", "somebody else's"], slots.clock.now)
    assert slots.residency.names == ("b",)
    assert slots.residency.strangers == ("somebody else's",)
    assert slots.residency.pending() == []
    slots.residency.seen(["b"], slots.clock.now)
    assert (slots.residency.strangers, slots.residency.pending()) == ((), ["a", "new"])


def test_strangers_count_against_the_slots_and_the_oldest_goes_when_it_is_old_and_in_the_way(slots: Slots) -> None:
    began = slots.clock.now
    slots.residency.seen(["older"], began)
    slots.clock.now += 1
    slots.residency.seen(["older", "younger"], slots.clock.now)
    assert slots.demanded("a") is None
    slots.clock.now = began + STRANGER_SECONDS
    assert slots.residency.strangers == ("older", "younger")  # time alone does nothing
    assert slots.demanded("a") == "older"
    assert slots.demanded("b") is None
    slots.clock.now += 1
    assert slots.demanded("b") == "younger"
    assert slots.residency.strangers == ()


def test_stranger_that_is_wanted_takes_no_slot_but_its_own(slots: Slots) -> None:
    """A gateway that starts again with fewer slots finds more of its own than that."""
    slots.residency.seen(["a", "b", "c", "d"], slots.clock.now)
    assert slots.residency.pending() == ["a", "b"]
    slots.bring("a", "b")
    assert set(slots.residency.strangers) == {"c", "d"}
    slots.clock.now += STRANGER_SECONDS
    slots.residency.seen(["a", "b", "c"], slots.clock.now)
    slots.clock.now += STRANGER_SECONDS
    assert slots.demanded("d") == "a"  # c is of an expected bundle


def test_what_could_not_be_unloaded_is_a_stranger_and_the_first_to_go(slots: Slots) -> None:
    slots.bring("a", "gone")
    asked_at = slots.clock.now
    slots.clock.now += 1
    for name, gone in (("a", True), ("gone", False)):
        slots.residency.let_go(name)
        assert slots.demanded(name) is None  # never both at a time
        slots.residency.left(name, gone=gone)
    slots.residency.seen(["a", "gone"], asked_at)
    assert (slots.residency.strangers, slots.residency.owed) == (("gone",), ["gone"])
    slots.bring("a")
    assert slots.demanded("b") == "gone"
    slots.residency.restarted()
    assert slots.residency.strangers == ()


def test_list_without_any_of_them_is_a_restart_that_nobody_saw(slots: Slots) -> None:
    slots.residency.refused("a", Refusal(OutcomeKind.UNTRUSTED, "another's", slots.clock.now + 60))
    slots.bring("b")
    slots.residency.seen([], slots.clock.now - 1)  # older than the load
    assert slots.residency.names == ("b",)
    slots.clock.now += 1
    slots.residency.seen([], slots.clock.now)
    assert (slots.residency.names, slots.residency.refusals) == ((), {})


def test_restart_forgets_all(slots: Slots) -> None:
    slots.bring("a", "b")
    with slots.residency.using(["a"]):
        slots.residency.restarted()
    assert len(slots.residency) == 0


def test_twice_as_many_adapters_as_slots_under_zipf_do_not_thrash() -> None:
    """100 calls a second: after a minute the hottest are resident, and loads are rare."""
    slots, rng = Slots(16), np.random.default_rng(0)
    popularity = 1 / np.arange(1, 33)
    names = rng.permutation([f"c{number:02d}" for number in range(32)])
    slots.residency.expect(dict.fromkeys(names.tolist(), 0), ())
    hits = loads = 0
    for call in range(18_000):
        slots.clock.now += 0.01
        name = str(names[rng.choice(32, p=popularity / popularity.sum())])
        hits += call >= 6_000 and slots.residency.holds(name)
        if slots.demanded(name) is not None:
            loads += call >= 6_000
            slots.residency.loaded(name)
    assert hits / 12_000 > 0.75  # the sixteen hottest have 83 % of all calls
    assert loads < 60  # in two minutes
