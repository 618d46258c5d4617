"""The statistics, against scipy's and against what can be worked out."""

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import stats

from models.evaluation.metrics import Interval
from models.online.statistics import (
    MIN_ACTING,
    Estimate,
    compare,
    estimate,
    holm,
    mismatch_p_value,
    moments,
    quantile,
    sequential_half_width,
    sequential_p_value,
    with_cuped,
)


def of(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval


def test_means_are_compared_by_welchs_test() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(1.3, 2, 80), rng.normal(1, 1, 120)

    found = compare(estimate(moments(first)), estimate(moments(second)), alpha=0.1)

    expected = stats.ttest_ind(first, second, equal_var=False)
    interval = expected.confidence_interval(0.9)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (of(found.difference).low, of(found.difference).high) == pytest.approx((interval.low, interval.high))
    assert of(found.lift).mean == pytest.approx(first.mean() / second.mean() - 1)


def test_the_variance_of_a_ratio_is_that_of_its_bootstrap() -> None:
    rng = np.random.default_rng(1)
    shown = rng.poisson(8, 500) + 1.0
    clicked = rng.binomial(shown.astype(int), rng.beta(1, 9, 500)).astype(float)

    found = estimate(moments(clicked, shown))

    drawn = rng.integers(500, size=(4_000, 500))
    ratios = clicked[drawn].sum(axis=1) / shown[drawn].sum(axis=1)
    assert found.value == pytest.approx(clicked.sum() / shown.sum())
    assert sqrt(found.variance) == pytest.approx(ratios.std(), rel=0.05)


def test_the_variance_of_a_quantile_is_that_of_its_bootstrap_over_users() -> None:
    rng = np.random.default_rng(2)
    users = np.repeat(np.arange(400), 5).astype(np.int64)
    values = rng.lognormal(3, 0.3, 400)[users] + rng.exponential(5, 2_000)  # a slow user is slow each time

    found = quantile(values, users, 0.9)

    table = values.reshape(400, 5)
    drawn = [np.quantile(table[rng.integers(400, size=400)], 0.9) for _ in range(1_000)]
    assert found.value == np.quantile(values, 0.9)
    assert sqrt(found.variance) == pytest.approx(np.std(drawn), rel=0.2)


def test_cuped_is_the_regression_on_what_was_before() -> None:
    rng = np.random.default_rng(3)
    before = rng.normal(size=(2, 3_000))
    noise = rng.normal(size=(2, 3_000))
    samples = [moments(10 + effect + 2 * before[effect] + noise[effect], covariate=before[effect]) for effect in (0, 1)]

    control, treated = with_cuped(samples)

    plain = [estimate(one) for one in samples]
    shares = [adjusted.variance / one.variance for adjusted, one in zip((control, treated), plain, strict=True)]
    assert shares == pytest.approx([0.2, 0.2], abs=0.02)  # of 4 + 1 what was before explains 4
    assert treated.value - control.value == pytest.approx(1, abs=4 * sqrt(2 / 3_000))


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_cuped_without_a_use_changes_nothing(constant: float) -> None:
    values = np.arange(10.0)
    samples = [moments(values, covariate=np.full(10, constant)), moments(values + 1, covariate=np.full(10, constant))]

    assert with_cuped(samples) == [estimate(one) for one in samples]


def test_the_sequential_interval_and_p_value_agree() -> None:
    variance, mixture, alpha = 0.0004, 0.05, 0.05

    half = sequential_half_width(variance, alpha, mixture)

    assert sequential_p_value(half, variance, mixture) == pytest.approx(alpha)
    assert (
        sequential_p_value(0.99 * half, variance, mixture) > alpha > sequential_p_value(-1.01 * half, variance, mixture)
    )
    assert sequential_p_value(0, variance, mixture) == 1


def test_the_sequential_interval_is_that_of_the_robbins_mixture() -> None:
    """Waudby-Smith et al. 2021, theorem 2.2, for n observations of variance σ² and ρ = τ / σ."""
    n, deviation, mixture, alpha = 1_000, 3.0, 0.2, 0.05
    rho = mixture / deviation
    scaled = n * rho**2 + 1

    expected = deviation * sqrt(2 * scaled / (n * rho) ** 2 * log(sqrt(scaled) / alpha))

    assert sequential_half_width(deviation**2 / n, alpha, mixture) == pytest.approx(expected)


def test_it_is_wider_than_the_fixed_one() -> None:
    found = compare(Estimate(0.11, 2e-6, 1_000, 500), Estimate(0.1, 2e-6, 1_000, 500), alpha=0.05)

    fixed, sequential = of(found.lift), of(found.sequential_lift)
    assert fixed.mean == sequential.mean == pytest.approx(0.1)
    assert sequential.low < fixed.low < fixed.high < sequential.high
    assert found.p_value is not None
    assert found.sequential_p_value is not None
    assert found.p_value < found.sequential_p_value < 0.05


@pytest.mark.parametrize("values", [(0.1, 0.0), (0.0, 0.1)])
def test_where_nobody_did_it_there_is_no_lift(values: tuple[float, float]) -> None:
    treated, control = (Estimate(value, value / 1_000, 50, 50) for value in values)

    found = compare(treated, control, alpha=0.05)

    assert (found.lift, found.sequential_lift, found.sequential_p_value) == (None, None, None)
    assert of(found.difference).mean == values[0] - values[1]


def test_few_who_did_something_are_not_looked_at_again_and_again() -> None:
    few, many = Estimate(0.01, 1e-6, 2_000, MIN_ACTING - 1), Estimate(0.1, 1e-5, 2_000, 200)

    found = compare(few, many, alpha=0.05)

    assert of(found.lift).mean == pytest.approx(-0.9)
    assert (found.sequential_lift, found.sequential_p_value) == (None, None)


def test_the_interval_of_a_lift_is_that_of_its_logarithm() -> None:
    treated, control = Estimate(0.3, 0.0025, 10_000, 3_000), Estimate(0.2, 0.0016, 10_000, 2_000)

    lift = of(compare(treated, control, alpha=0.05).lift)

    half = 1.96 * sqrt(0.0025 / 0.3**2 + 0.0016 / 0.2**2)
    assert (lift.low, lift.high) == pytest.approx((1.5 * exp(-half) - 1, 1.5 * exp(half) - 1), abs=1e-3)


def test_a_lift_of_which_nothing_is_known_has_an_interval_all_the_same() -> None:
    lift = of(compare(Estimate(1e-9, 1.0, 3, 1), Estimate(1.0, 1.0, 3, 1), alpha=0.05).lift)

    assert lift.low == -1
    assert lift.high > 1e300


@pytest.mark.parametrize("users", [0, 1])
def test_too_few_users_say_nothing(users: int) -> None:
    few, many = estimate(moments(np.ones(users))), estimate(moments(np.arange(9.0)))

    assert compare(few, many, alpha=0.05).p_value is None
    assert np.isnan(with_cuped([moments(np.ones(users)), moments(np.arange(9.0), covariate=np.arange(9.0))])[0].value)


def test_where_nothing_varies_nothing_is_said() -> None:
    assert compare(estimate(moments(np.zeros(9))), estimate(moments(np.zeros(9))), alpha=0.05).difference is None


def test_a_split_is_held_against_its_weights() -> None:
    assert mismatch_p_value([5_000, 5_000], [1, 1]) == 1
    assert mismatch_p_value([5_200, 4_800], [1, 1]) < 0.001
    assert mismatch_p_value([5_200, 4_800], [52, 48]) == 1


def test_holm() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
