"""People who wait come before batches; what is let in is counted until it leaves."""

import asyncio
import time
from collections import Counter

import pytest

from service.gateway.errors import ApiError
from service.gateway.traffic.admission import BEAT_SECONDS, Admission
from service.gateway.traffic.limiter import GradientLimit
from service.gateway.traffic.settings import LimitSettings


def admission_of(limit: int, batch_share: float = 0.5) -> tuple[Admission, Counter[str]]:
    shed: Counter[str] = Counter()
    fixed = GradientLimit(LimitSettings(min=limit, max=limit), 0.2)
    return Admission(fixed, batch_share, lambda priority: shed.update([priority])), shed


def test_one_more_than_the_limit_is_turned_away_until_one_leaves():
    admission, shed = admission_of(3)
    for _ in range(3):
        admission.enter(1, batch=False)
    with pytest.raises(ApiError, match="Too many") as refused:
        admission.enter(1, batch=False)
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
    assert admission.turns_away(batch=False)
    assert (admission.in_flight, shed) == (3, {"interactive": 2})
    admission.leave(1, batch=False)
    assert not admission.turns_away(batch=False)


def test_batches_have_a_share_and_leave_the_rest_to_people():
    admission, shed = admission_of(10)
    admission.enter(4, batch=True)
    admission.enter(4, batch=True)  # there was room for one more
    assert admission.turns_away(batch=True)
    for _ in range(2):
        admission.enter(1, batch=False)
    assert admission.turns_away(batch=False)
    assert shed == {"batch": 1, "interactive": 1}
    admission.leave(4, batch=True)
    assert not admission.turns_away(batch=True)
    assert admission.in_flight == 6


def test_people_may_use_all_of_it_and_batches_then_none():
    admission, _ = admission_of(10)
    for _ in range(10):
        admission.enter(1, batch=False)
    assert admission.turns_away(batch=True)


def test_a_small_share_of_a_small_limit_is_still_one():
    admission, _ = admission_of(1, 0.1)
    assert not admission.turns_away(batch=True)
    admission.enter(1, batch=True)
    assert admission.turns_away(batch=True)


async def test_a_loop_that_is_held_comes_late():
    admission, _ = admission_of(10)
    await admission.beat()
    assert admission.late_seconds < BEAT_SECONDS
    beat = asyncio.create_task(admission.beat())
    await asyncio.sleep(0)
    time.sleep(BEAT_SECONDS + 0.1)  # noqa: ASYNC251 - it is the point
    await beat
    assert 0.05 < admission.late_seconds < 1
    late = admission.late_seconds
    await admission.beat()
    assert admission.late_seconds < late
