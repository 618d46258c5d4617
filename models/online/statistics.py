"""The statistics of experiments, users being the units that were drawn: pure functions of arrays.

A metric of a variant is a ratio of two means over its users, r = ȳ / x̄: clicks over exposures, or revenue over 1. The
delta method gives each user the residual z = (y - r x) / x̄, so that var(r) = var(z) / n (Deng et al. 2018, "Applying
the Delta Method in Metric Analytics"); where x is 1 that is the variance of an ordinary mean.

*Fixed horizon.* Welch's t-test of the difference d = r_t - r_c, valid for one look that was planned before. The lift
r_t / r_c - 1 has its interval on the logarithmic scale, where ratios are closer to normal: l = ln(r_t / r_c) has, by
the delta method, the variance V = v_t / r_t² + v_c / r_c².

*Sequential.* The mixture sequential probability ratio test with the mixing distribution N(0, τ²) over l, which for
small lifts is the lift (Johari et al. 2017, "Peeking at A/B Tests"; asymptotic for means as in Waudby-Smith et al.
2021, "Time-uniform central limit theory and asymptotic confidence sequences"):

    Λ = sqrt(V / (V + τ²)) exp(τ² l² / (2 V (V + τ²))),   p = min(1, 1 / Λ),
    l ± sqrt(V (V + τ²) / τ² (ln((V + τ²) / V) - 2 ln α)).

Both hold at all looks together, whatever ends the experiment, as far as l is normal at the first look. Looks therefore
begin where every variant has MIN_ACTING users who did something at all. τ does not touch validity: the interval is
narrowest where τ is about the size of the lift that one looks for.

*CUPED* (Deng et al. 2013): z less θ (c - c̄), c being the same user's metric from before the experiment, c̄ its mean
over all variants, and θ = cov(z, c) / var(c) within the variants.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, expm1, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from models.evaluation.metrics import Interval

Values = NDArray[np.float64]

MISMATCH_ALARM = 0.001  # p-value of a split below which nothing else is to be believed
DEFAULT_MIXTURE = 0.05  # τ: lifts of five percent are what most experiments look for
_LARGEST = 700.0  # its exponential is a number
MIN_ACTING = 30  # with fewer users who did something an estimated variance may be next to nothing by chance


@dataclass(frozen=True)
class Moments:
    """All that counts of a metric of one variant's users, in the order numerator, denominator, covariate.

    Args:
        n_users: how many.
        n_acting: of them, those whose numerator is not zero.
        means: (3,).
        covariances: (3, 3), with n - 1.
    """

    n_users: int
    n_acting: int
    means: Values
    covariances: Values

    @property
    def measurable(self) -> bool:
        return self.n_users > 1 and bool(self.means[1] > 0)

    @property
    def value(self) -> float:
        """r."""
        return float(self.means[0] / self.means[1])

    @property
    def variance(self) -> float:
        """var(z)."""
        s, r = self.covariances, self.value
        return max(0.0, float(s[0, 0] - 2 * r * s[0, 1] + r * r * s[1, 1])) / float(self.means[1]) ** 2

    @property
    def covariance(self) -> float:
        """cov(z, c)."""
        return float(self.covariances[0, 2] - self.value * self.covariances[1, 2]) / float(self.means[1])


@dataclass(frozen=True)
class Estimate:
    """A variant's metric.

    Args:
        value: the ratio; NaN where nothing can be said.
        variance: of the value.
        n_users: that it is of.
        n_acting: of them, those whose numerator is not zero.
    """

    value: float
    variance: float
    n_users: int
    n_acting: int


@dataclass(frozen=True)
class Comparison:
    """A variant against control; None where the data do not say: no users, no variance, nothing that was done.

    Args:
        difference: of the values, with Welch's interval.
        p_value: of the difference, two-sided, at a fixed horizon.
        lift: the relative difference with its interval at a fixed horizon.
        sequential_lift: the same with an interval that holds at all looks together.
        sequential_p_value: of the lift, valid at all looks together.
    """

    difference: Interval | None
    p_value: float | None
    lift: Interval | None
    sequential_lift: Interval | None
    sequential_p_value: float | None


def moments(numerator: Values, denominator: Values | None = None, covariate: Values | None = None) -> Moments:
    """The moments of one variant's users.

    Args:
        numerator: (n,) what is counted for each user.
        denominator: (n,) what it is counted over; None for a mean over users.
        covariate: (n,) the same user's metric from before; None where there is none.
    """
    n = len(numerator)
    ones, zeros = np.ones(n), np.zeros(n)
    rows = np.stack(
        [numerator, denominator if denominator is not None else ones, zeros if covariate is None else covariate]
    )
    means = rows.mean(axis=1) if n else np.zeros(3)
    centred = rows - means[:, None]
    return Moments(n, int(np.count_nonzero(numerator)), means, centred @ centred.T / max(1, n - 1))


def estimate(users: Moments) -> Estimate:
    """The metric of one variant by the delta method."""
    if not users.measurable:
        return Estimate(float("nan"), float("nan"), users.n_users, users.n_acting)
    return Estimate(users.value, users.variance / users.n_users, users.n_users, users.n_acting)


def with_cuped(variants: Sequence[Moments]) -> list[Estimate]:
    """The metric of every variant, adjusted for what its users did before."""
    measurable = [users for users in variants if users.measurable]
    squares = sum((users.n_users - 1) * float(users.covariances[2, 2]) for users in measurable)
    if not squares > 0:
        return [estimate(users) for users in variants]
    theta = sum((users.n_users - 1) * users.covariance for users in measurable) / squares
    n_users = sum(users.n_users for users in measurable)
    mean = sum(users.n_users * float(users.means[2]) for users in measurable) / n_users
    return [_adjusted(users, theta, mean) if users.measurable else estimate(users) for users in variants]


def compare(treated: Estimate, control: Estimate, alpha: float, mixture: float = DEFAULT_MIXTURE) -> Comparison:
    """A variant against control, both intervals at level 1 - ``alpha``; ``mixture`` is τ, in logarithms of ratios."""
    variance = treated.variance + control.variance
    if not variance > 0:
        return Comparison(None, None, None, None, None)
    difference, spread = treated.value - control.value, sqrt(variance)
    freedom = _welch_satterthwaite(treated, control)
    half = _t_quantile(freedom, 1 - alpha / 2)
    p_value = float(2 * special.stdtr(freedom, -abs(difference) / spread))
    welch = _around(difference, half * spread)
    if not (control.value > 0 and treated.value > 0):
        return Comparison(welch, p_value, None, None, None)
    ratio = log(treated.value / control.value)
    ratio_variance = treated.variance / treated.value**2 + control.variance / control.value**2
    lift = _as_lift(ratio, half * sqrt(ratio_variance))
    if min(treated.n_acting, control.n_acting) < MIN_ACTING:
        return Comparison(welch, p_value, lift, None, None)
    return Comparison(
        difference=welch,
        p_value=p_value,
        lift=lift,
        sequential_lift=_as_lift(ratio, sequential_half_width(ratio_variance, alpha, mixture)),
        sequential_p_value=sequential_p_value(ratio, ratio_variance, mixture),
    )


def sequential_half_width(variance: float, alpha: float, mixture: float) -> float:
    """Half of the interval that holds at all looks together, for an estimate with this variance."""
    total = variance + mixture**2
    return sqrt(variance * total / mixture**2 * (log(total / variance) - 2 * log(alpha)))


def sequential_p_value(value: float, variance: float, mixture: float) -> float:
    """Of the hypothesis that the value is zero. The least of all looks so far is valid, too."""
    total = variance + mixture**2
    log_ratio = 0.5 * log(variance / total) + mixture**2 * value**2 / (2 * variance * total)
    return exp(-max(0.0, log_ratio))


def quantile(values: Values, users: NDArray[np.int64], level: float) -> Estimate:
    """A quantile of measurements of which a user has several.

    The share of measurements below the quantile is a ratio metric of users. Its interval, read off the measurements'
    own distribution, gives the quantile's (Deng et al. 2018, section 4.1).

    Args:
        values: (m,) measurements.
        users: (m,) whose each is, by number.
        level: 0.95 for p95.
    """
    if not len(values):
        return Estimate(float("nan"), float("nan"), 0, 0)
    value = float(np.quantile(values, level))
    _, own = np.unique(users, return_inverse=True)
    below, counts = np.bincount(own, weights=values <= value), np.bincount(own).astype(np.float64)
    share = estimate(moments(below.astype(np.float64), counts))
    if not share.variance >= 0:
        return replace(share, value=value)
    levels = np.clip([level - sqrt(share.variance), level + sqrt(share.variance)], 0, 1)
    low, high = np.quantile(values, levels)
    return replace(share, value=value, variance=float((high - low) / 2) ** 2)


def mismatch_p_value(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Chi-square test of users a variant against the shares that they should have."""
    expected = np.asarray(weights) / sum(weights) * sum(counts)
    return float(stats.chisquare(counts, expected).pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for being looked at together (Holm 1979); None is no test and stays."""
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p_value, place) in enumerate(tested):
        largest = max(largest, min(1.0, p_value * (len(tested) - rank)))
        adjusted[place] = largest
    return adjusted


def _adjusted(users: Moments, theta: float, mean: float) -> Estimate:
    """Less θ (c - c̄), whose own variance comes in once more."""
    shift = theta * (float(users.means[2]) - mean)
    variance = users.variance - 2 * theta * users.covariance + theta**2 * float(users.covariances[2, 2])
    return replace(estimate(users), value=users.value - shift, variance=max(0.0, variance) / users.n_users)


def _welch_satterthwaite(first: Estimate, second: Estimate) -> float:
    total = (first.variance + second.variance) ** 2
    return total / (first.variance**2 / (first.n_users - 1) + second.variance**2 / (second.n_users - 1))


def _t_quantile(freedom: float, level: float) -> float:
    quantile_of_t: Any = special.stdtrit(freedom, level)  # scipy.stats.t would take most of a calibration's time
    return float(quantile_of_t)


def _as_lift(ratio: float, half: float) -> Interval:
    """Of the logarithm of a ratio, and half of its interval."""
    return Interval(expm1(ratio), expm1(ratio - half), expm1(min(ratio + half, _LARGEST)))


def _around(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half)
