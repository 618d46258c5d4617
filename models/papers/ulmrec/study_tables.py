"""The tables and figures of a study of ULMRec: the paper's Tables 2 and 4, and Figures 8 and 9."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.evaluation.measure import write_document
from models.evaluation.metrics import SIGNIFICANT
from models.evaluation.plots import bars, panels, save, style
from models.evaluation.tables import Table, gain_cell, mean_and_half, page
from models.papers.ulmrec.reranking import NAMES
from models.papers.ulmrec.similarity import similarity_table
from models.papers.ulmrec.study_config import Group
from models.papers.ulmrec.study_report import MAIN_METRIC, Measured, MeasuredGroup, StudyReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES: Mapping[Group, str] = {
    "main": "Retriever and rankers (Table 2)",
    "ablation": "Alignment tasks (Figure 8)",
    "index": "User indices (Figure 9)",
    "index-only": "Index and candidates alone, without histories (Table 4)",
}
DRAWN = ("N@10", "R@10")


def write_report(report: StudyReport, out: Path) -> list[Path]:
    """Write OUT.json, OUT.md, and pictures into OUT; the files that were written."""
    written = write_document(report, as_markdown(report), out)
    with style():
        for name, group in report.groups.items():
            written += save(_figure(report, name, group), out / name)
    return written


def as_markdown(report: StudyReport) -> str:
    """All tables, for a file that is committed."""
    protocol = (
        f"{report.n_test:,} test users; of {report.n_found:,} the target is among the {report.n_candidates} that"
        f" {report.retriever} retrieves of {report.n_items:,} items, never shuffled: *rank* metrics are over these,"
        f" *overall* over all, a target that was not retrieved is a miss; mean over seeds"
        f" {', '.join(map(str, report.seeds))}, ± half of the 95 % interval over users"
    )
    tables = [table for name, group in report.groups.items() for table in group_tables(name, group)]
    rows = [row for group in report.groups.values() for row in group.rows]
    alike = [replace(table, title=f"{table.title}: {name}") for name, table in _similarities(report)]
    return page(f"ULMRec on {report.dataset}", protocol, report.facts, [*tables, *_of_models(rows), *alike])


def group_tables(name: Group, group: MeasuredGroup) -> list[Table]:
    """Rank and overall metrics, and the gains over the row that the others are compared with."""
    header = ("model", *NAMES)
    tables = [
        Table(f"{TITLES[name]}: {part}", header, tuple((row.name, *_cells(row, part)) for row in group.rows))
        for part in ("rank", "overall")
    ]
    compared = [row for row in group.rows if row.gains]
    gains = Table(
        f"{TITLES[name]}: gain over {group.against}, paired; bold: p < {SIGNIFICANT}",
        (
            "model",
            *(f"{part} {metric}" for part in ("rank", "overall") for metric in DRAWN),
            f"{MAIN_METRIC}, relative",
        ),
        tuple((row.name, *_gain_cells(row)) for row in compared),
    )
    return [*tables, gains] if compared else tables


def _similarities(report: StudyReport) -> Iterator[tuple[str, Table]]:
    return ((name, similarity_table(found)) for name, found in report.similarity.items())


def _cells(row: Measured, part: str) -> list[str]:
    found = row.rank if part == "rank" else row.overall
    return [mean_and_half(found[name]) for name in NAMES]


def _gain_cells(row: Measured) -> list[str]:
    cells = [gain_cell(row.gains[part][metric]) for part in ("rank", "overall") for metric in DRAWN]
    return [*cells, "–" if row.percent is None else f"{row.percent:+.1f} %"]


def _of_models(rows: Sequence[Measured]) -> list[Table]:
    """What rows with a language model took, and how long their prompts are."""
    tuned = {row.name: row for row in rows if row.tokens is not None}.values()
    if not tuned:
        return []
    return [_tuning_table(list(tuned)), _tokens_table(list(tuned))]


def _tuning_table(rows: Sequence[Measured]) -> Table:
    return Table(
        "Tuning; rows of one language model have the same seconds, which may have been on a shared machine",
        ("model", f"overall {MAIN_METRIC} by seed", f"validation {MAIN_METRIC}", "weight of the retriever", "seconds"),
        tuple(
            (
                row.name,
                ", ".join(f"{value:.4f}" for value in row.by_seed),
                f"{row.valid_ndcg:.4f}",
                ", ".join(f"{weight:g}" for weight in row.weight) or "–",
                " + ".join(f"{seconds:.0f}" for seconds in row.seconds.values()),
            )
            for row in rows
        ),
    )


def _tokens_table(rows: Sequence[Measured]) -> Table:
    return Table(
        "Tokens of test prompts, and those that all have first: the constant instruction; a prefix cache shares blocks",
        ("model", "prompts", "mean", "longest", "in common", "cached", "cached share"),
        tuple(
            (
                row.name,
                f"{t.n_prompts}",
                f"{t.mean:.1f}",
                f"{t.longest}",
                f"{t.common}",
                f"{t.cached}",
                f"{t.cached_share:.1%}",
            )
            for row in rows
            if (t := row.tokens) is not None
        ),
    )


def _figure(report: StudyReport, name: Group, group: MeasuredGroup) -> "Figure":
    """Metrics within the retrieved candidates as bars with intervals, in the table's order."""
    rows = group.rows[::-1]
    title = f"{report.dataset}: {TITLES[name]}, {report.n_found:,} of {report.n_test:,} test users"
    figure, axes_of = panels(title, len(DRAWN), height=0.35 * len(rows) + 1.2, sharey=True)
    for axes, metric in zip(axes_of, DRAWN, strict=True):
        intervals = [row.rank[metric] for row in rows]
        colours = ["tab:gray" if row.name == group.against else "tab:blue" for row in rows]
        names = [row.name for row in rows]
        axes.barh(names, [i.mean for i in intervals], xerr=bars(intervals), color=colours, ecolor="black")
        axes.set_xlabel(f"rank {metric}")
    return figure
