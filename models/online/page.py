"""A report as tables: the main ones for the terminal, all of them for a file."""

from collections.abc import Iterable, Sequence

from models.evaluation.metrics import Interval
from models.evaluation.tables import Table, aligned, page
from models.online.metrics import GUARD_NAMES, GUARDS, LATENCIES, METRICS
from models.online.report import CONTROL, Arm, ExperimentReport
from models.online.rows import Row

_NONE = "–"
_RATIOS = {**METRICS, **GUARDS}


def as_text(report: ExperimentReport) -> str:
    """Warnings, the split, metrics and segments, for a terminal."""
    tables = [split_table(report), *result_tables(report)]
    return "\n\n".join([*(f"!! {warning}" for warning in report.warnings), *map(aligned, tables)])


def as_markdown(report: ExperimentReport) -> str:
    """Everything, for a file that is shared."""
    facts = {"warning": " ".join(report.warnings)} if report.warnings else {}
    facts |= {"attribution": _attribution(report), "how to read it": _manual(report)}
    tables = [split_table(report), *result_tables(report), *cuped_tables(report)]
    return page(f"Experiment {report.experiment}", report.period, facts | report.provenance, tables)


def split_table(report: ExperimentReport) -> Table:
    """Users and lists of each variant, and whether they are split as they should be."""
    n_users = sum(arm.n_users for arm in report.arms)
    return Table(
        f"{report.experiment}, {report.period}: split of {n_users:,} users, p {_p(report.mismatch_p_value)};"
        f" {report.n_excluded:,} seen in several variants",
        ("variant", "users", "share", "expected", "lists"),
        tuple(_arm(arm, n_users, report.control) for arm in report.arms),
    )


def result_tables(report: ExperimentReport) -> list[Table]:
    """Lifts with both intervals: metrics, guards, segments."""
    groups = {
        f"Lift over {report.control}{_cuped(report)}, {_level(report)} intervals": [
            r for r in report.rows if r.metric not in GUARD_NAMES
        ],
        f"Guards, change over {report.control}": [r for r in report.rows if r.metric in GUARD_NAMES],
        "Segments": report.segments,
    }
    return [_results(title, rows, report.alpha) for title, rows in groups.items() if rows]


def cuped_tables(report: ExperimentReport) -> list[Table]:
    """The same lifts with CUPED and without; nothing where there was none."""
    rows = [row for row in report.rows if row.comparison and row.variance_reduction]
    if not rows:
        return []
    return [
        Table(
            f"CUPED: lifts with and without the {report.covariate_days:g} days before a user's first list",
            ("metric", "variant", "with", "without", "variance taken"),
            tuple(
                (
                    row.metric,
                    row.variant,
                    _percent(row.comparison.lift if row.comparison else None),
                    _percent(row.unadjusted.lift if row.unadjusted else None),
                    f"{row.variance_reduction:.0%}",
                )
                for row in rows
            ),
        )
    ]


def value_in_words(metric: str, value: float | None) -> str:
    """A metric's value in its unit."""
    if value is None:
        return _NONE
    if metric in LATENCIES:
        return f"{value:,.1f} ms"
    return f"{value:.2%}" if _RATIOS[metric].percent else f"{value:,.3f}"


def _results(title: str, rows: Sequence[Row], alpha: float) -> Table:
    segmented = any(row.segment for row in rows)
    names = ("metric", *(["segment"] if segmented else []), "variant", "users", "value")
    return Table(
        title,
        (*names, "lift", "p", "p (Holm)", "sequential", "seq. p", "seq. p (Holm)"),
        tuple(_result(row, segmented, alpha) for row in rows),
    )


def _result(row: Row, segmented: bool, alpha: float) -> tuple[str, ...]:
    found = row.comparison
    names = (row.metric, *([row.segment] if segmented else []), row.variant, f"{row.n_users:,}")
    value = value_in_words(row.metric, row.value)
    if found is None:
        return (*names, value, *[""] * 6)
    fixed = (_starred(_percent(found.lift), row.p_holm, alpha), _p(found.p_value), _p(row.p_holm))
    sequential = _starred(_percent(found.sequential_lift), row.sequential_p_holm, alpha)
    return (*names, value, *fixed, sequential, _p(found.sequential_p_value), _p(row.sequential_p_holm))


def _arm(arm: Arm, n_users: int, control: str) -> tuple[str, ...]:
    name = f"{arm.variant} (control)" if arm.variant == control != CONTROL else arm.variant
    return name, f"{arm.n_users:,}", f"{arm.n_users / n_users:.2%}", f"{arm.expected_share:.2%}", f"{arm.n_lists:,}"


def _attribution(report: ExperimentReport) -> str:
    return (
        f"of the clicks and purchases of the period, also of users outside of the experiment, {report.n_named:,} name"
        f" their list, {report.n_within:,} are of an item shown shortly before, {report.n_unknown:,} came from no list"
    )


def _manual(report: ExperimentReport) -> str:
    meanings = "; ".join(f"{name}: {_RATIOS[name].meaning}" for name in _metrics(report.rows) if name in _RATIOS)
    return (
        f"{meanings}. «lift» and its p hold for one look that was planned before, «sequential» for any number of looks"
        f" (mixture of τ = {report.mixture:g}). Holm allows for all variants of a metric, and in segments for all of"
        f" its rows; intervals are not widened. Stars: p (Holm) < {report.alpha:g}"
    )


def _metrics(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.metric for row in rows))


def _cuped(report: ExperimentReport) -> str:
    return " with CUPED" if any(row.variance_reduction for row in report.rows) else ""


def _level(report: ExperimentReport) -> str:
    return f"{100 * (1 - report.alpha):g}%"


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return _NONE
    return f"{interval.mean:+.1%} [{interval.low:+.1%}, {interval.high:+.1%}]"


def _starred(text: str, p_value: float | None, alpha: float) -> str:
    return f"{text} *" if p_value is not None and p_value < alpha else text


def _p(p_value: float | None) -> str:
    if p_value is None:
        return _NONE
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
