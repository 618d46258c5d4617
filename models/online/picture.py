"""The picture of a report: lifts with both intervals, one panel for metrics and one for guards."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.evaluation.plots import bars, panels, save, style
from models.online.metrics import GUARD_NAMES
from models.online.report import ExperimentReport
from models.online.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDEST = 3.0  # an interval beyond ±300 % says nothing and would hide the others


def draw(report: ExperimentReport, path: Path) -> list[Path]:
    """Write ``path``.png and .svg; the files."""
    rows = [row for row in report.rows if row.comparison and row.comparison.lift]
    metrics, others = ([row for row in rows if (row.metric in GUARD_NAMES) is wanted] for wanted in (False, True))
    with style():
        height = 0.45 * max(len(metrics), len(others), 1) + 1.4
        figure, axes_of = panels(f"{report.experiment}: change over {report.control}", 2, height=height)
        for axes, name, own in zip(axes_of, ("metrics", "guards"), (metrics, others), strict=True):
            _panel(axes, name, own)
        figure.legend(*axes_of[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return save(figure, path)


def _panel(axes: "Axes", name: str, rows: Sequence[Row]) -> None:
    """Control is the line at zero; the first metric on top."""
    axes.axvline(0, color="tab:gray", lw=1)
    intervals = {
        "one look": [row.comparison.lift for row in rows if row.comparison],
        "any number of looks": [row.comparison.sequential_lift for row in rows if row.comparison],
    }
    for (label, found), shift, colour in zip(intervals.items(), (-0.12, 0.12), ("tab:blue", "tab:orange"), strict=True):
        there = [(place + shift, interval) for place, interval in enumerate(found) if interval]
        lifts = [interval for _, interval in there]
        axes.errorbar(
            [interval.mean for interval in lifts],
            [place for place, _ in there],
            xerr=bars(lifts),
            fmt="o",
            ms=4,
            color=colour,
            label=label,
        )
    axes.set_yticks(range(len(rows)), [f"{row.metric}\n{row.variant}" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -_WIDEST), min(high, _WIDEST))
    axes.xaxis.set_major_formatter("{x:+.0%}")
    axes.set_xlabel(name)
