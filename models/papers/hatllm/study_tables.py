"""The tables and figures of a study of HatLLM: the paper's Tables 3 and 5, and Figure 5."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.evaluation.measure import write_document
from models.evaluation.metrics import SIGNIFICANT
from models.evaluation.plots import ablation_figure, bars, draw, panels, save, style
from models.evaluation.tables import (
    Table,
    fusions_table,
    gain_cell,
    gains_table,
    mean_and_half,
    metrics_table,
    page,
    relative_cell,
    seeds_table,
)
from models.papers.hatllm.study_config import HATLLM, UNMASKED
from models.papers.hatllm.study_report import Gain, Point, StudyReport, Whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = ("NDCG@10", "HR@10")


def write_report(report: StudyReport, out: Path) -> list[Path]:
    """Write OUT.json, OUT.md, and pictures into OUT; the files that were written."""
    written = write_document(report, as_markdown(report), out)
    pictures = draw(report.main, out) if report.main else []
    with style():
        if report.ablation:
            pictures += save(ablation_figure(report.ablation, HATLLM), out / "ablation")
        if report.sweep:
            pictures += save(_sweep_figure(report), out / "layers")
    return [*written, *pictures]


def as_markdown(report: StudyReport) -> str:
    """All tables, for a file that is committed."""
    seeds = ", ".join(map(str, report.seeds))
    protocol = (
        f"{report.n_examples:,} test items, full ranking of {report.n_items:,}; all rows are trained on the same"
        f" {report.n_windows:,} sequences; main rows and local models are means over seeds {seeds}, the others of seed"
        f" {report.seeds[0]}"
    )
    tables: list[Table] = []
    for name, evaluation in (("main", report.main), ("ablation", report.ablation), ("local", report.local)):
        if evaluation is not None:
            fusions = [fusions_table(evaluation)] if evaluation.fusions else []
            several = [seeds_table(evaluation)] if len(evaluation.seeds) > 1 else []
            whole = whole_table(report.whole[name], evaluation.against)
            tables += [metrics_table(evaluation), *several, gains_table(evaluation), whole, *fusions]
    sweep = [sweep_table(report.sweep)] if report.sweep else []
    gains = [mean_gain_table(report.gains)] if report.gains else []
    return page(f"HatLLM on {report.dataset}", protocol, report.provenance, [*tables, *sweep, *gains])


def whole_table(rows: Mapping[str, Whole], against: str) -> Table:
    """NDCG without a cutoff, and its gains."""
    return Table(
        f"NDCG without a cutoff, gain over {against}, paired; bold: p < {SIGNIFICANT}",
        ("model", "NDCG", "gain", "relative"),
        tuple((name, mean_and_half(row.ndcg), *_gain_cells(row)) for name, row in rows.items()),
    )


def sweep_table(points: Sequence[Point]) -> Table:
    """Figure 5 in numbers."""
    return Table(
        "Numbers of intra-item and cross-item layers (Figure 5)",
        ("intra", "cross", *DRAWN, "validation NDCG"),
        tuple(
            (str(p.intra), str(p.cross), *(mean_and_half(p.metrics[name]) for name in DRAWN), f"{p.valid_ndcg:.4f}")
            for p in points
        ),
    )


def mean_gain_table(gains: Mapping[str, Gain]) -> Table:
    """The gain on each data set, and their mean."""
    mean = np.mean([gain.percent for gain in gains.values()])
    rows = tuple((name, f"{gain.percent:+.1f} %", f"{gain.p_value:.3g}") for name, gain in gains.items())
    return Table(
        f"NDCG@10 of {HATLLM} over {UNMASKED}", ("data set", "gain", "p"), (*rows, ("mean", f"{mean:+.1f} %", ""))
    )


def _gain_cells(row: Whole) -> tuple[str, str]:
    if row.gain is None:
        return "", ""
    return gain_cell(row.gain), relative_cell(row.ndcg, row.gain)


def _sweep_figure(report: StudyReport) -> "Figure":
    """Figure 5: one line for the shallow layers, one for the deep ones."""
    figure, axes_of = panels(f"{report.dataset}: numbers of masked layers", len(DRAWN), height=3.6)
    for axes, metric in zip(axes_of, DRAWN, strict=True):
        for varied, fixed in (("intra", "cross"), ("cross", "intra")):
            points = _line(report.sweep, varied, fixed)
            intervals = [point.metrics[metric] for point in points]
            places = [getattr(point, varied) for point in points]
            axes.errorbar(places, [i.mean for i in intervals], yerr=bars(intervals), marker="o", label=f"{varied}-item")
        axes.set_xlabel("layers")
        axes.set_ylabel(metric)
    axes_of[0].legend()
    return figure


def _line(points: Sequence[Point], varied: str, fixed: str) -> list[Point]:
    """The points of one line: those whose other number of layers is the one that most points have."""
    others: list[Any] = [getattr(point, fixed) for point in points]
    usual = max(set(others), key=others.count)
    kept = {getattr(point, varied): point for point in points if getattr(point, fixed) == usual}
    return [kept[value] for value in sorted(kept)]
