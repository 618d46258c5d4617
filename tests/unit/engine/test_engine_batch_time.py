"""The estimate of a batch's time."""

import pytest

from service.engine.batch_time import BatchTime

pytestmark = pytest.mark.engine


def test_nothing_is_known_at_first() -> None:
    assert BatchTime().expected(9) == 0.0


def test_proportional_while_all_batches_are_alike() -> None:
    time = BatchTime()
    for _ in range(3):
        time.observe(4, 0.2)
    assert time.expected(4) == pytest.approx(0.2)
    assert time.expected(8) == pytest.approx(0.4)


def test_fixed_and_growing_part_are_told_apart() -> None:
    time = BatchTime()
    for size in (1, 9, 64, 9, 1, 36, 9) * 5:
        time.observe(size, 0.003 + 0.0005 * size)
    for size in (1, 9, 64, 100):
        assert time.expected(size) == pytest.approx(0.003 + 0.0005 * size, rel=1e-6)


def test_new_batches_count_more() -> None:
    time = BatchTime()
    for seconds in (1.0, *[0.1] * 50):
        time.observe(1, seconds)
    assert time.expected(1) == pytest.approx(0.1, rel=0.05)


def test_larger_batches_are_never_expected_sooner() -> None:
    time = BatchTime()
    for size, seconds in ((1, 1.0), (10, 0.1)) * 3:
        time.observe(size, seconds)
    assert time.expected(20) >= time.expected(1) > 0


def test_doubt_makes_it_smaller() -> None:
    time = BatchTime()
    time.observe(2, 0.2)
    time.observe(4, 0.4)
    before = time.expected(4)
    time.doubt()
    assert time.expected(4) == pytest.approx(0.9 * before)
