"""Counts that fade."""

import pytest
from support.pools import Clock

from service.workers.demand import Demand


def test_a_use_is_worth_half_after_the_half_life() -> None:
    clock = Clock()
    demand = Demand(clock, half_life_seconds=10)
    demand.note(["a", "b"])
    demand.note(["a"])
    assert (demand.of("a"), demand.of("b"), demand.of("c")) == (2.0, 1.0, 0.0)
    clock.now += 10
    assert demand.of("a") == pytest.approx(1.0)
    demand.note(["a"])
    clock.now += 20
    assert demand.of("a") == pytest.approx(0.5)


def test_what_is_forgotten_starts_anew() -> None:
    demand = Demand(Clock())
    demand.note(["a"])
    demand.forget(["a", "never seen"])
    assert demand.of("a") == 0.0
