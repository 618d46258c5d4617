"""The tables and figures of a study of L2Rec: the paper's Tables 2 and 3, Figure 2, and what its routers do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.evaluation.measure import write_document
from models.evaluation.metrics import SIGNIFICANT, Difference
from models.evaluation.plots import ablation_figure, bars, draw, panels, save, style
from models.evaluation.tables import Table, gain_cell, gains_table, mean_and_half, metrics_table, page, seeds_table
from models.papers.l2rec.study_config import L2REC, LIMITED, SINGLE
from models.papers.l2rec.study_report import Point, StudyReport, Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = ("NDCG@10", "HR@10")


def write_report(report: StudyReport, out: Path) -> list[Path]:
    """Write OUT.json, OUT.md, and pictures into OUT; the files that were written."""
    written = write_document(report, as_markdown(report), out)
    pictures = draw(report.main, out) if report.main else []
    with style():
        if report.ablation:
            pictures += save(ablation_figure(report.ablation, L2REC), out / "ablation")
        if report.limited:
            pictures += save(_limited_figure(report), out / "limited")
    return [*written, *pictures]


def as_markdown(report: StudyReport) -> str:
    """All tables, for a file that is committed."""
    seeds = ", ".join(map(str, report.seeds))
    protocol = (
        f"{report.n_examples:,} test items, full ranking of {report.n_items:,} less the history; {report.n_users:,}"
        f" users, leave-one-out; main rows are means over seeds {seeds}, the others of seed {report.seeds[0]}"
    )
    tables: list[Table] = []
    for evaluation in (report.main, report.ablation):
        if evaluation is not None:
            several = [seeds_table(evaluation)] if len(evaluation.seeds) > 1 else []
            compared = [gains_table(evaluation)] if len(evaluation.rows) > 1 else []
            tables += [metrics_table(evaluation), *several, *compared]
    if report.over_best:
        tables.append(_over_best_table(report))
    if report.limited:
        tables.append(limited_table(report.limited))
    tables.append(trained_table(report.trained))
    tables += [routing_table(name, row) for name, row in report.trained.items() if row.facts.routing]
    return page(f"L2Rec on {report.dataset}", protocol, report.provenance, tables)


def limited_table(points: Sequence[Point]) -> Table:
    """Figure 2 in numbers."""
    return Table(
        f"Trained on some of the users (Figure 2); paired differences of {DRAWN[0]}; bold: p < {SIGNIFICANT}",
        ("model", "users", *DRAWN, f"over {SINGLE} with as many", f"over {SINGLE} with all"),
        tuple(
            (
                p.model,
                f"{p.n_users:,} ({p.share:.4g})",
                *(mean_and_half(p.metrics[name]) for name in DRAWN),
                _difference(p.gain),
                _difference(p.over_all),
            )
            for p in points
        ),
    )


def trained_table(rows: Mapping[str, Trained]) -> Table:
    """What was trained, whether it began from an earlier phase, and how long it took; –: not kept, or nothing."""
    return Table(
        "Training: numbers that are trained, best validation NDCG@10, seconds",
        ("model", "trained numbers", "pre-trained on", "validation", "seconds"),
        tuple(
            (
                name,
                f"{row.facts.parameters:,}" if row.facts.parameters else "–",
                row.facts.initial or "nothing",
                f"{row.facts.valid_ndcg:.4f}" if row.facts.valid_ndcg else "–",
                f"{row.seconds:,.0f}" if row.seconds else "–",
            )
            for name, row in rows.items()
        ),
    )


def routing_table(name: str, row: Trained) -> Table:
    """How often each expert fires, and how even the choice is."""
    n_experts = max(len(found.utilisation) for found in row.facts.routing)
    return Table(
        f"Routers of {name}: share of the choices by expert, mean over the blocks; entropies as shares of the largest",
        ("view", *(f"expert {number}" for number in range(n_experts)), "of the load", "of a token", "never chosen"),
        tuple(
            (
                found.view,
                *(f"{share:.1%}" for share in found.utilisation),
                f"{found.load_entropy:.3f}",
                f"{found.token_entropy:.3f}",
                ", ".join(found.silent) or "none",
            )
            for found in row.facts.routing
        ),
    )


def _over_best_table(report: StudyReport) -> Table:
    """Table 2's last line: over the best baseline."""
    return Table(
        f"Gain over {report.best_baseline}, the best baseline on test, paired; bold: p < {SIGNIFICANT}",
        ("model", *DRAWN),
        tuple((name, *(gain_cell(gains[metric]) for metric in DRAWN)) for name, gains in report.over_best.items()),
    )


def _difference(found: Mapping[str, Difference]) -> str:
    return gain_cell(found[DRAWN[0]]) if found else ""


def _limited_figure(report: StudyReport) -> "Figure":
    """Figure 2: one line a model."""
    figure, axes_of = panels(f"{report.dataset}: trained on some of the users", len(DRAWN), height=3.6)
    for axes, metric in zip(axes_of, DRAWN, strict=True):
        for model in LIMITED:
            points = [point for point in report.limited if point.model == model]
            intervals = [point.metrics[metric] for point in points]
            shares, means = [100 * point.share for point in points], [i.mean for i in intervals]
            axes.errorbar(shares, means, yerr=bars(intervals), marker="o", label=model)
        axes.set_xscale("log")
        axes.set_xlabel("users trained on, %")
        axes.set_ylabel(metric)
    axes_of[0].legend()
    return figure
