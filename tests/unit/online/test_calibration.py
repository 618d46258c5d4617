"""Do intervals and tests keep what they promise? Some hundred simulated experiments whose truth is known."""

import pytest

from models.online.calibration import (
    CalibrationOptions,
    MetricCalibration,
    Rate,
    calibrate,
    calibrate_mismatch,
)

OPTIONS = CalibrationOptions(n_experiments=300, n_users=1_000, mixture=0.3)
METRICS = ("click-through", "conversion", "revenue")


@pytest.fixture(scope="module")
def calibrated() -> dict[str, MetricCalibration]:
    return calibrate(OPTIONS)


def holds(rate: Rate, promised: float) -> bool:
    """Whether the rate may be what was promised, as far as so few experiments can tell."""
    low, high = rate.interval(0.999)
    return low <= promised <= high


@pytest.mark.parametrize("metric", METRICS)
class TestMetric:
    def test_intervals_hold_the_truth(self, calibrated: dict[str, MetricCalibration], metric: str) -> None:
        found = calibrated[metric]
        assert holds(found.covered, 0.95)
        assert holds(found.covered_cuped, 0.95)
        assert found.covered.share > 0.9
        assert found.covered_sequential.share >= 0.95

    def test_false_positives_come_at_the_stated_rate(
        self, calibrated: dict[str, MetricCalibration], metric: str
    ) -> None:
        found = calibrated[metric]
        assert holds(found.false_fixed, 0.05)
        assert holds(found.false_cuped, 0.05)
        assert found.false_fixed.share < 0.1

    def test_peeking_is_harmless_for_the_sequential_test_only(
        self, calibrated: dict[str, MetricCalibration], metric: str
    ) -> None:
        found = calibrated[metric]
        assert found.false_sequential.share <= 0.05
        assert found.false_sequential_cuped.share <= 0.05
        low, _ = found.false_peeking.interval(0.999)
        assert low > 0.1


def test_cuped_takes_variance_and_finds_more(calibrated: dict[str, MetricCalibration]) -> None:
    clicks = calibrated["click-through"]
    assert clicks.variance_reduction > 0.15
    assert clicks.power_cuped.hits > clicks.power.hits
    assert all(found.variance_reduction > -0.01 for found in calibrated.values())


def test_the_sequential_test_finds_a_large_effect() -> None:
    found = calibrate(CalibrationOptions(n_experiments=20, n_users=1_500, n_looks=5, effect=0.6))["click-through"]

    assert found.power_sequential.share > 0.8
    assert found.power.share == 1


def test_a_wrong_split_is_found_and_a_right_one_is_not() -> None:
    found = calibrate_mismatch(CalibrationOptions(n_experiments=400))

    assert found.found.share > 0.97
    assert found.false.share < 0.01


def test_the_seed_decides() -> None:
    options = CalibrationOptions(n_experiments=3, n_users=200, n_looks=2)

    assert calibrate(options) == calibrate(options)
