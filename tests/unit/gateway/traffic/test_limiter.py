"""The limit finds what a simulated server can do, and what it lets in is answered in time."""

import heapq
import random
from collections import deque
from dataclasses import dataclass
from itertools import count

import pytest

from service.gateway.traffic.limiter import INITIAL, GradientLimit
from service.gateway.traffic.settings import LimitSettings

DEADLINE = 0.2
BEAT = 0.05
BOUNDS = LimitSettings(min=4, max=500)


@dataclass
class Seen:
    """What came of a simulation's second half."""

    answered: int
    in_time: int
    worst: float
    limit: float


def simulate(rate: float, service_seconds: float, servers: int, bounds: LimitSettings = BOUNDS) -> Seen:
    """Poisson arrivals before servers with one queue, behind the limit; exponential service times."""
    rng, order = random.Random(0), count()  # noqa: S311 - a simulation
    limit = GradientLimit(bounds, DEADLINE)
    queue: deque[float] = deque()
    agenda: list[tuple[float, int, str, float]] = [(0.0, next(order), "arrival", 0.0), (BEAT, next(order), "beat", 0.0)]
    busy, inside, latencies, seconds = 0, 0, [], 60.0
    while (now := agenda[0][0]) < seconds:
        _, _, what, began = heapq.heappop(agenda)
        if what == "beat":
            limit.update(0.0)
            heapq.heappush(agenda, (now + BEAT, next(order), "beat", 0.0))
        elif what == "arrival":
            heapq.heappush(agenda, (now + rng.expovariate(rate), next(order), "arrival", 0.0))
            if inside < limit.value:
                inside += 1
                limit.entered(inside)
                queue.append(now)
        else:
            busy, inside = busy - 1, inside - 1
            limit.observe(now - began)
            if now > seconds / 2:
                latencies.append(now - began)
        while queue and busy < servers:
            busy += 1
            ends = now + rng.expovariate(1 / service_seconds)
            heapq.heappush(agenda, (ends, next(order), "end", queue.popleft()))
    latencies.sort()
    in_time = sum(latency <= DEADLINE for latency in latencies)
    return Seen(len(latencies), in_time, latencies[int(len(latencies) * 0.99)], limit.value)


@pytest.mark.parametrize(("service_seconds", "servers"), [(0.002, 1), (0.005, 2), (0.01, 10)])
def test_at_three_times_the_capacity_goodput_stays_and_latency_holds(service_seconds: float, servers: int):
    capacity = servers / service_seconds
    seen = simulate(3 * capacity, service_seconds, servers)
    assert seen.in_time >= 0.9 * capacity * 30  # of half a minute
    assert seen.worst < DEADLINE


def test_without_a_limit_the_same_load_would_be_lost():
    seen = simulate(1500, 0.002, 1, LimitSettings(min=500, max=500))
    assert seen.answered > 0.9 * 500 * 30
    assert seen.in_time == 0


def test_a_load_that_fits_is_not_turned_away():
    capacity = 10 / 0.01
    seen = simulate(0.7 * capacity, 0.01, 10)
    assert seen.answered >= 0.69 * capacity * 30


def feed(limit: GradientLimit, seconds: float, windows: int, in_flight: int, late: float = 0.0) -> float:
    for _ in range(windows):
        limit.entered(in_flight)
        for _ in range(10):
            limit.observe(seconds)
        limit.update(late)
    return limit.value


def test_it_grows_while_it_is_used_and_stays_within_its_bounds():
    limit = GradientLimit(LimitSettings(min=10, max=100), DEADLINE)
    assert limit.value == INITIAL
    assert feed(limit, 0.001, 10, in_flight=10) == INITIAL  # nobody came near it
    assert feed(limit, 0.001, 200, in_flight=1000) == 100
    assert feed(limit, 10.0, 200, in_flight=1000) == 10


def test_a_late_event_loop_is_pressure_though_no_request_says_so():
    limit = GradientLimit(BOUNDS, DEADLINE)
    feed(limit, 0.001, 20, in_flight=50)
    before = limit.value
    for _ in range(20):
        limit.update(late_seconds=0.15)
    assert limit.value < before / 2


def test_slow_but_far_from_the_deadline_is_no_pressure():
    limit = GradientLimit(BOUNDS, DEADLINE)
    feed(limit, 0.001, 50, in_flight=1000)
    before = limit.value
    assert feed(limit, 0.02, 20, in_flight=1000) > before  # twenty times as slow, a tenth of the deadline


def test_pressure_that_lasts_stays_pressure():
    """The long-term latency drifts after the short one; the deadline does not."""
    limit = GradientLimit(BOUNDS, DEADLINE)
    assert feed(limit, 0.9 * DEADLINE, 5_000, in_flight=1000) < 30


def test_few_samples_decide_nothing():
    limit = GradientLimit(BOUNDS, DEADLINE)
    for _ in range(9):
        limit.entered(1000)
        limit.observe(5.0)
    limit.update(0.0)
    assert limit.value == INITIAL
