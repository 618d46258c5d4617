"""What an experiment has shown: the document that ``localrec experiment report`` prints, draws and writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from models.contract.errors import DataError
from models.online import columns as c
from models.online import outcomes as o
from models.online.outcomes import Outcomes, Scope, outcomes
from models.online.rows import ReportOptions, Row, all_rows, segment_rows
from models.online.statistics import MISMATCH_ALARM, mismatch_p_value
from models.online.weights import check_weights

CONTROL = "control"

_DONE_BEFORE = (o.BEFORE + o.CLICKS, o.BEFORE + o.CONVERTED)


@dataclass(frozen=True)
class Arm:
    """A variant's size: users, lists that count, and the share of users that it should have."""

    variant: str
    n_users: int
    n_lists: int
    expected_share: float


@dataclass(frozen=True)
class ExperimentReport:
    """The document.

    Args:
        experiment: its name.
        control: the variant that the others are compared with.
        period: from when to when, for people.
        alpha: intervals are of level 1 - alpha.
        mixture: τ of the sequential test.
        covariate_days: that CUPED goes back; 0 without it.
        arms: the variants, control first.
        mismatch_p_value: of the split of users.
        n_excluded: users who were seen in several variants.
        n_named: clicks and purchases that named their list.
        n_within: those that were attributed by user, item and time.
        n_unknown: those that came from no list.
        warnings: what a reader must know first.
        rows: metrics and guards, by metric, of all users.
        segments: metrics by segment.
        provenance: what it was made with.
    """

    experiment: str
    control: str
    period: str
    alpha: float
    mixture: float
    covariate_days: float
    arms: tuple[Arm, ...]
    mismatch_p_value: float
    n_excluded: int
    n_named: int
    n_within: int
    n_unknown: int
    warnings: tuple[str, ...]
    rows: tuple[Row, ...]
    segments: tuple[Row, ...]
    provenance: dict[str, str]


def experiment_report(
    exposures: pl.DataFrame, events: pl.DataFrame, scope: Scope, options: ReportOptions, provenance: dict[str, str]
) -> ExperimentReport:
    """Judge an experiment by what the service recorded.

    Raises:
        DataError: see :func:`models.online.outcomes.outcomes`; or users were seen in one variant only, or control is
            none of those that were seen.
        ConfigError: users were seen in a variant that has no weight.
    """
    found = outcomes(exposures, events, scope)
    seen = found.users[c.VARIANT].unique().sort().to_list()
    variants = _control_first(scope.experiment, seen, options)
    weights = dict(options.weights or dict.fromkeys(variants, 1.0))
    check_weights(weights, variants)
    arms = _arms(found, [*variants, *(name for name in weights if name not in variants)], weights)
    mismatch = mismatch_p_value([arm.n_users for arm in arms], [arm.expected_share for arm in arms])
    return ExperimentReport(
        experiment=scope.experiment,
        control=variants[0],
        period=_period(found.lists, scope),
        alpha=options.alpha,
        mixture=options.mixture,
        covariate_days=scope.before.total_seconds() / 86_400,
        arms=arms,
        mismatch_p_value=mismatch,
        n_excluded=found.n_excluded,
        n_named=found.attributed.n_named,
        n_within=found.attributed.n_within,
        n_unknown=found.attributed.n_unknown,
        warnings=_warnings(mismatch, found, scope),
        rows=all_rows(found, variants, options),
        segments=segment_rows(found.users, variants, scope.segments, options),
        provenance=provenance,
    )


def _control_first(experiment: str, seen: Sequence[str], options: ReportOptions) -> list[str]:
    if len(seen) < 2:
        raise DataError(
            f"{experiment}: users were seen in {', '.join(seen) or 'no variant'} only; expected two or more"
        )
    order = [name for name in options.weights or () if name in seen] or list(seen)
    control = options.control or (CONTROL if CONTROL in seen else order[0])
    if control not in seen:
        raise DataError(f"{experiment}: control {control!r} was not seen; seen: {', '.join(seen)}")
    return [control, *(name for name in seen if name != control)]


def _arms(found: Outcomes, variants: Sequence[str], weights: Mapping[str, float]) -> tuple[Arm, ...]:
    users, lists = (dict(t.group_by(c.VARIANT).len().iter_rows()) for t in (found.users, found.lists))
    total = sum(weights.values())
    return tuple(Arm(name, users.get(name, 0), lists.get(name, 0), weights[name] / total) for name in variants)


def _warnings(mismatch: float, found: Outcomes, scope: Scope) -> tuple[str, ...]:
    said = []
    if mismatch < MISMATCH_ALARM:
        said.append(
            f"SAMPLE RATIO MISMATCH (p = {mismatch:.2g}): users are not split as they should be, so the variants'"
            " users differ in more than the variant. Find out why before you believe anything below."
        )
    if found.n_excluded:
        share = found.n_excluded / (found.n_excluded + found.users.height)
        said.append(f"{found.n_excluded:,} users ({share:.1%}) were seen in several variants and are left out.")
    if scope.before and not found.users.select(pl.max_horizontal(_DONE_BEFORE) > 0).to_series().any():
        said.append("No click or purchase from before the experiment: CUPED has nothing to go by.")
    return tuple(said)


def _period(lists: pl.DataFrame, scope: Scope) -> str:
    times = lists[c.TIME].sort().dt.strftime("%Y-%m-%d %H:%M")
    since, until = (f"{instant:%Y-%m-%d %H:%M}" if instant else None for instant in (scope.since, scope.until))
    return f"{since or times[0]} to {until or times[-1]} UTC"
