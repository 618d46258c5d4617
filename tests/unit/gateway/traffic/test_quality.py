"""The factor falls under pressure, rises again, and stays where it is in between."""

from itertools import pairwise

import pytest

from service.gateway.traffic.quality import (
    INTERVAL_SECONDS,
    LOWEST,
    MIN_SAMPLES,
    PATIENCE_SECONDS,
    QualityFactor,
    effort_at,
)
from service.gateway.traffic.settings import QualitySettings
from service.gateway.types import FULL_EFFORT, Effort


class World:
    """A factor, and the requests that it hears of."""

    def __init__(self, **settings: object) -> None:
        self.now = 100.0
        self.factor = QualityFactor(QualitySettings.model_validate(settings), lambda: self.now)

    def interval(self, *shares: float) -> Effort:
        """As long as it takes to decide once, with these requests."""
        for share in shares:
            self.factor.observe(share)
        self.now += INTERVAL_SECONDS
        return self.factor.effort()


def test_pressure_lowers_it_and_calm_brings_it_back():
    world = World()
    for _ in range(20):
        world.interval(*[0.9] * 40)
    assert world.factor.value == LOWEST
    assert not world.factor.effort().models
    steps = 0
    while world.factor.value < 1:
        world.interval(*[0.1] * 40)
        steps += 1
    assert 10 < steps < 30  # slower than it fell
    assert world.factor.effort() == FULL_EFFORT


def test_it_is_the_percentile_that_counts():
    slow_few = [0.1] * 97 + [1.0] * 3
    assert World(percentile=95).interval(*slow_few) == FULL_EFFORT
    assert World(percentile=99).interval(*slow_few).width < 1


def test_between_calm_and_pressure_nothing_changes():
    world = World(target=0.8)
    world.interval(*[0.9] * 40)
    before = world.factor.value
    for share in (0.61, 0.7, 0.79):
        world.interval(*[share] * 40)
        assert world.factor.value == before
    world.interval(*[0.59] * 40)
    assert world.factor.value > before


def test_old_pressure_is_forgotten_and_few_requests_are_no_pressure():
    world = World()
    world.interval(*[0.9] * 40)
    before = world.factor.value
    world.interval(*[1.0] * (MIN_SAMPLES - 1))
    assert world.factor.value == before
    world.now += PATIENCE_SECONDS
    world.factor.effort()
    assert world.factor.value > before
    world.now += 60
    world.factor.effort()
    assert world.factor.value == 1.0


def test_a_little_traffic_decides_when_enough_has_come():
    world = World()
    assert world.interval(*[1.0] * (MIN_SAMPLES // 2)) == FULL_EFFORT
    assert world.interval(*[1.0] * (MIN_SAMPLES // 2)) != FULL_EFFORT


def test_between_decisions_the_effort_is_the_same():
    world = World()
    for _ in range(40):
        world.factor.observe(1.0)
    assert world.factor.effort() == FULL_EFFORT
    world.now += INTERVAL_SECONDS
    assert world.factor.effort() != FULL_EFFORT


def test_who_was_turned_away_was_not_in_time():
    world = World()
    for _ in range(4):
        world.factor.turned_away()
    assert world.interval(*[0.1] * 96) == FULL_EFFORT
    for _ in range(6):
        world.factor.turned_away()
    assert world.interval(*[0.1] * 94).width < 1


def test_disabled_it_does_nothing():
    assert World(enabled=False).interval(*[5.0] * 100) == FULL_EFFORT


def test_fan_out_narrows_then_candidates_shrink_then_no_model_is_asked():
    efforts = [effort_at(1 - step / 100) for step in range(100)]
    assert efforts[0] == FULL_EFFORT
    assert efforts[-1] == Effort(0.0, 0.25, models=False)
    for before, after in pairwise(efforts):
        assert after.width <= before.width
        assert after.candidates <= before.candidates
        assert after.models <= before.models
        assert after.candidates == 1 or after.width == 0
        assert after.models or after.candidates == 0.25
    assert 8 < len(set(efforts)) < 20  # answers of unequal effort share no cache entry


@pytest.mark.parametrize("quality", [0.5, 0.51])
def test_the_narrowest_fan_out_still_asks_for_everything_of_one(quality: float):
    assert effort_at(quality) == Effort(width=0.0, candidates=1.0)
