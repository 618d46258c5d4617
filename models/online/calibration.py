"""Whether intervals and tests keep what they promise: many simulated experiments whose truth is known."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from models.evaluation.metrics import Interval
from models.online.population import Population, PopulationOptions, draw
from models.online.statistics import (
    DEFAULT_MIXTURE,
    MISMATCH_ALARM,
    Comparison,
    Moments,
    compare,
    estimate,
    mismatch_p_value,
    with_cuped,
)

MISMATCH_USERS = 20_000
MISMATCH = 0.02  # 52 : 48


@dataclass(frozen=True)
class CalibrationOptions:
    """How many experiments with the effect, and as many without, of how many users, looked at how often."""

    n_experiments: int = 400
    n_users: int = 2_000
    n_looks: int = 20
    effect: float = 0.1
    alpha: float = 0.05
    mixture: float = DEFAULT_MIXTURE
    seed: int = 0


@dataclass(frozen=True)
class Rate:
    """How often something was so, of ``n`` experiments."""

    hits: int
    n: int

    @property
    def share(self) -> float:
        return self.hits / self.n

    @property
    def deviation(self) -> float:
        """Standard deviation of the share."""
        return sqrt(self.share * (1 - self.share) / self.n)

    def interval(self, level: float = 0.99) -> tuple[float, float]:
        """Where the true rate lies (Clopper and Pearson)."""
        found = stats.binomtest(self.hits, self.n).proportion_ci(level)
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class MetricCalibration:
    """One metric, all rates over experiments; «any look» means that one look or more was so.

    Args:
        covered: with the effect, the fixed interval of the last look holds the truth.
        covered_cuped: the same with CUPED.
        covered_sequential: with the effect, the sequential intervals of all looks hold the truth.
        false_fixed: without effect, the last look is significant.
        false_cuped: the same with CUPED.
        false_peeking: without effect, the fixed test is significant at any look.
        false_sequential: without effect, the sequential test is significant at any look.
        false_sequential_cuped: the same with CUPED.
        power: with the effect, the last look is significant.
        power_cuped: the same with CUPED.
        power_sequential: with the effect, the sequential test is significant at any look.
        variance_reduction: by CUPED at the last look, the mean of all experiments.
    """

    covered: Rate
    covered_cuped: Rate
    covered_sequential: Rate
    false_fixed: Rate
    false_cuped: Rate
    false_peeking: Rate
    false_sequential: Rate
    false_sequential_cuped: Rate
    power: Rate
    power_cuped: Rate
    power_sequential: Rate
    variance_reduction: float


@dataclass(frozen=True)
class MismatchCalibration:
    """The check of the split: how often it calls a split of 52 to 48 and one of 50 to 50 wrong."""

    found: Rate
    false: Rate


@dataclass(frozen=True)
class _Looks:
    """One metric of one experiment at all looks, without CUPED and with it, and the share of variance that it took."""

    plain: list[Comparison]
    cuped: list[Comparison]
    variance_reduction: float


Advance = Callable[[range], Iterable[int]]


def calibrate(options: CalibrationOptions, advance: Advance = lambda numbers: numbers) -> dict[str, MetricCalibration]:
    """Simulate, and count; ``advance`` wraps the loops over experiments."""
    with_effect = _experiments(options, options.effect, 0, advance)
    without = _experiments(options, 0.0, 1, advance)
    return {name: _metric(with_effect[name], without[name], options) for name in with_effect}


def calibrate_mismatch(options: CalibrationOptions) -> MismatchCalibration:
    """Draw splits, and count alarms."""
    rng = np.random.default_rng([options.seed, 2])

    def alarms(share: float) -> Rate:
        treated = rng.binomial(MISMATCH_USERS, share, options.n_experiments)
        p_values = [mismatch_p_value([MISMATCH_USERS - int(n), int(n)], [1, 1]) for n in treated]
        return _rate([p_value < MISMATCH_ALARM for p_value in p_values])

    return MismatchCalibration(found=alarms(0.5 + MISMATCH), false=alarms(0.5))


def _experiments(
    options: CalibrationOptions, effect: float, stream: int, advance: Advance
) -> Mapping[str, list[_Looks]]:
    """Each metric's experiments. Each experiment has random numbers of its own."""
    population = PopulationOptions(options.n_users, effect, n_periods=options.n_looks)
    found: dict[str, list[_Looks]] = {}
    for number in advance(range(options.n_experiments)):
        drawn = draw(population, np.random.default_rng([options.seed, stream, number]))
        for name, looks in _looks(drawn, options).items():
            found.setdefault(name, []).append(looks)
    return found


def _looks(population: Population, options: CalibrationOptions) -> dict[str, _Looks]:
    looks = list(population.looks())
    return {name: _of_metric([look[name] for look in looks], options) for name in looks[0]}


def _of_metric(arms: list[tuple[Moments, Moments]], options: CalibrationOptions) -> _Looks:
    plain = [(estimate(control), estimate(treated)) for control, treated in arms]
    cuped = [with_cuped(both) for both in arms]
    before, after = (sum(arm.variance for arm in looks[-1]) for looks in (plain, cuped))
    return _Looks(
        [compare(treated, control, options.alpha, options.mixture) for control, treated in plain],
        [compare(treated, control, options.alpha, options.mixture) for control, treated in cuped],
        1 - after / before,
    )


def _metric(with_effect: list[_Looks], without: list[_Looks], options: CalibrationOptions) -> MetricCalibration:
    effect, alpha = options.effect, options.alpha
    return MetricCalibration(
        covered=_rate([_holds(one.plain[-1].lift, effect) for one in with_effect]),
        covered_cuped=_rate([_holds(one.cuped[-1].lift, effect) for one in with_effect]),
        covered_sequential=_rate([all(_holds(at.sequential_lift, effect) for at in one.plain) for one in with_effect]),
        false_fixed=_rate([_below(one.plain[-1].p_value, alpha) for one in without]),
        false_cuped=_rate([_below(one.cuped[-1].p_value, alpha) for one in without]),
        false_peeking=_rate([any(_below(at.p_value, alpha) for at in one.plain) for one in without]),
        false_sequential=_rate([any(_below(at.sequential_p_value, alpha) for at in one.plain) for one in without]),
        false_sequential_cuped=_rate(
            [any(_below(at.sequential_p_value, alpha) for at in one.cuped) for one in without]
        ),
        power=_rate([_below(one.plain[-1].p_value, alpha) for one in with_effect]),
        power_cuped=_rate([_below(one.cuped[-1].p_value, alpha) for one in with_effect]),
        power_sequential=_rate([any(_below(at.sequential_p_value, alpha) for at in one.plain) for one in with_effect]),
        variance_reduction=float(np.mean([one.variance_reduction for one in with_effect])),
    )


def _holds(interval: Interval | None, value: float) -> bool:
    """Whether the interval holds the value; one that says nothing does."""
    return interval is None or interval.low <= value <= interval.high


def _below(p_value: float | None, alpha: float) -> bool:
    return p_value is not None and p_value < alpha


def _rate(found: list[bool]) -> Rate:
    return Rate(sum(found), len(found))
