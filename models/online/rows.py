"""A report's rows: each variant in each metric, compared with control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import polars as pl

from models.online import columns as c
from models.online.metrics import GUARDS, LATENCIES, METRICS, Metric, latency
from models.online.outcomes import Outcomes
from models.online.statistics import (
    DEFAULT_MIXTURE,
    Comparison,
    Estimate,
    compare,
    estimate,
    holm,
    with_cuped,
)


@dataclass(frozen=True)
class ReportOptions:
    """How to judge.

    Args:
        control: the variant that the others are compared with; "" for the one named control, else the first.
        metrics: names in ``METRICS``.
        alpha: intervals are of level 1 - alpha.
        mixture: τ of the sequential test.
        weights: how users should be split; empty for evenly.
    """

    control: str = ""
    metrics: tuple[str, ...] = tuple(METRICS)
    alpha: float = 0.05
    mixture: float = DEFAULT_MIXTURE
    weights: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Row:
    """One variant in one metric, of all users or of a segment.

    Args:
        metric: its name.
        segment: ``context.device=phone``; "" for all users.
        variant: its name.
        n_users: of it.
        value: the metric as it is; None where nothing can be said.
        variance_reduction: the share of the difference's variance that CUPED took; 0 without it.
        comparison: with control, with CUPED where there is something to go by; None for control itself.
        unadjusted: the same without CUPED.
        p_holm: p-value adjusted for all variants of the metric, or all variants and segments.
        sequential_p_holm: the same of the sequential one.
    """

    metric: str
    segment: str
    variant: str
    n_users: int
    value: float | None
    variance_reduction: float = 0.0
    comparison: Comparison | None = None
    unadjusted: Comparison | None = None
    p_holm: float | None = None
    sequential_p_holm: float | None = None


def all_rows(found: Outcomes, variants: Sequence[str], options: ReportOptions) -> tuple[Row, ...]:
    """Metrics and guards of all users, each metric corrected for its variants."""
    metrics = {name: METRICS[name] for name in options.metrics} | dict(GUARDS)
    rows = [_corrected(_rows(name, metric, found.users, variants, options)) for name, metric in metrics.items()]
    lists = [found.lists.filter(pl.col(c.VARIANT) == variant) for variant in variants]
    for name, level in LATENCIES.items():
        estimates = [latency(own, level) for own in lists]
        rows.append(_corrected(_compared(name, "", variants, estimates, estimates, options)))
    return tuple(row for group in rows for row in group)


def segment_rows(
    users: pl.DataFrame, variants: Sequence[str], segments: Sequence[str], options: ReportOptions
) -> tuple[Row, ...]:
    """Corrected over all parts of all segments, metric by metric."""
    parts = [(f"{name}={value}", name, value) for name in segments for value in users[name].unique().sort()]
    found: list[Row] = []
    for metric in options.metrics:
        rows: list[Row] = []
        for title, name, value in parts:
            own = users.filter(pl.col(name) == value)
            rows += _rows(metric, METRICS[metric], own, variants, options, title)
        found += _corrected(rows)
    return tuple(found)


def _rows(
    name: str,
    metric: Metric,
    users: pl.DataFrame,
    variants: Sequence[str],
    options: ReportOptions,
    segment: str = "",
) -> list[Row]:
    found = [metric.moments(users.filter(pl.col(c.VARIANT) == variant)) for variant in variants]
    return _compared(name, segment, variants, [estimate(own) for own in found], with_cuped(found), options)


def _compared(
    metric: str,
    segment: str,
    variants: Sequence[str],
    plain: Sequence[Estimate],
    adjusted: Sequence[Estimate],
    options: ReportOptions,
) -> list[Row]:
    """Control's row, and the others' with their comparisons."""
    rows = [
        Row(metric, segment, variant, own.n_users, own.value if isfinite(own.value) else None)
        for variant, own in zip(variants, plain, strict=True)
    ]
    return rows[:1] + [
        replace(
            row,
            variance_reduction=_reduction(plain[0], own, adjusted[0], own_adjusted),
            comparison=compare(own_adjusted, adjusted[0], options.alpha, options.mixture),
            unadjusted=compare(own, plain[0], options.alpha, options.mixture),
        )
        for row, own, own_adjusted in zip(rows[1:], plain[1:], adjusted[1:], strict=True)
    ]


def _reduction(control: Estimate, treated: Estimate, control_adjusted: Estimate, treated_adjusted: Estimate) -> float:
    before = control.variance + treated.variance
    return 1 - (control_adjusted.variance + treated_adjusted.variance) / before if before > 0 else 0.0


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """With p-values that allow for all of these rows being looked at."""
    fixed = holm([row.comparison.p_value if row.comparison else None for row in rows])
    sequential = holm([row.comparison.sequential_p_value if row.comparison else None for row in rows])
    return [replace(row, p_holm=p, sequential_p_holm=s) for row, p, s in zip(rows, fixed, sequential, strict=True)]
