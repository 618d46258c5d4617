"""What is committed of a study: JSON, tables in Markdown, and pictures after the paper's figures 3 and 4."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.evaluation.measure import write_document
from models.evaluation.metrics import SIGNIFICANT, Difference, Interval
from models.evaluation.plots import bars, panels, save, style
from models.evaluation.pointwise import METRICS
from models.evaluation.tables import Table, page
from models.papers.collm.cost import ScoringCost
from models.papers.collm.study import SUBSETS, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCENARIOS = ("warm", "cold")
_CHOICES = (" T1", " T2", " T3", " UI-token")


def write(rows: Sequence[Measured], costs: Mapping[str, ScoringCost], facts: Mapping[str, str], out: Path) -> None:
    """Write ``OUT.json``, ``OUT.md``, and ``scenarios`` and ``tuning`` as PNG and SVG into the directory ``OUT``.

    Args:
        rows: in the tables' order.
        costs: of a prediction; empty: not measured.
        facts: what it was measured with, the ``command`` among it.
        out: path without suffix.
    """
    document = {"facts": dict(facts), "rows": list(rows), "costs": dict(costs)}
    write_document(document, as_markdown(rows, costs, facts), out)
    choices = [row for row in rows if _is_choice(row, rows)]
    with style():
        for name, chosen in {"scenarios": [r for r in rows if not _is_variant(r)], "tuning": choices}.items():
            if chosen:
                save(_figure(chosen), out / name)


def as_markdown(rows: Sequence[Measured], costs: Mapping[str, ScoringCost], facts: Mapping[str, str]) -> str:
    """All tables."""
    cost = [_costs(costs)] if costs else []
    tables = [_quality(rows), _scenarios(rows), _differences(rows), _seconds(rows), *cost]
    return page("CoLLM", "test pairs; intervals of 95 % over users", facts, tables)


def _quality(rows: Sequence[Measured]) -> Table:
    return Table(
        "Quality on the test pairs (Tables II to V)",
        ("model", "seeds", *METRICS, "sd of AUC"),
        tuple((r.name, str(r.seeds), *(_interval(r.metrics["all"][m]) for m in METRICS), _spread(r)) for r in rows),
    )


def _scenarios(rows: Sequence[Measured]) -> Table:
    return Table(
        "Warm and cold (Figure 3)",
        ("model", *(f"{metric}, {subset}" for subset in SCENARIOS for metric in METRICS)),
        tuple((r.name, *(f"{r.metrics[s][m].mean:.4f}" for s in SCENARIOS for m in METRICS)) for r in rows),
    )


def _differences(rows: Sequence[Measured]) -> Table:
    return Table(
        f"Paired differences; bold: p < {SIGNIFICANT}",
        ("model", "less", *METRICS),
        tuple(
            (row.name, rival, *(_difference(found[metric]) for metric in METRICS))
            for row in rows
            for rival, found in row.differences.items()
            if found
        ),
    )


def _seconds(rows: Sequence[Measured]) -> Table:
    timed = [(r.name, r.training_seconds, r.scoring_seconds) for r in rows]
    return Table(
        "Seconds of a row's own step (Table VI); rows may have shared the machine",
        ("model", "training", "scoring the test pairs"),
        tuple((name, f"{t:.0f}", f"{s:.1f}") for name, t, s in timed if t is not None and s is not None),
    )


def _costs(costs: Mapping[str, ScoringCost]) -> Table:
    first = next(iter(costs.values()))
    return Table(
        "Cost of a prediction (Table VI), in turns, on the same pairs",
        ("model", "tokens", "processor ms", "tokens, relative", "time, relative"),
        tuple(
            (
                name,
                f"{c.tokens:.1f}",
                f"{1000 * c.seconds:.2f}",
                f"{c.tokens / first.tokens - 1:+.1%}",
                f"{c.seconds / first.seconds - 1:+.1%}",
            )
            for name, c in costs.items()
        ),
    )


def _figure(rows: Sequence[Measured]) -> "Figure":
    """AUC of all, warm and cold test pairs, a bar a row."""
    figure, axes_of = panels("AUC on test pairs", len(SUBSETS), height=0.3 * len(rows) + 1.4, sharey=True)
    for axes, subset in zip(axes_of, SUBSETS, strict=True):
        intervals = [row.metrics[subset]["AUC"] for row in reversed(rows)]
        names = [row.name for row in reversed(rows)]
        axes.barh(names, [each.mean for each in intervals], xerr=bars(intervals), color="tab:blue", ecolor="black")
        axes.set_xlim(left=min(0.5, *(each.low for each in intervals)) - 0.02)
        axes.set_xlabel(subset)
    return figure


def _is_variant(row: Measured) -> bool:
    return row.name.endswith(_CHOICES)


def _is_choice(row: Measured, rows: Sequence[Measured]) -> bool:
    """Whether a row is a way of tuning, or what such ways are compared with."""
    compared = {each.name.rsplit(" ", 1)[0] for each in rows if _is_variant(each)}
    return bool(compared) and (_is_variant(row) or row.name in compared or row.name == "TALLRec")


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def _difference(difference: Difference) -> str:
    text = f"{difference.interval.mean:+.4f} [{difference.interval.low:+.4f}, {difference.interval.high:+.4f}]"
    return f"**{text}**" if difference.p_value < SIGNIFICANT else text


def _spread(row: Measured) -> str:
    return f"{row.spread:.4f}" if row.seeds > 1 else ""
