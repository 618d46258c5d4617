"""An evaluation as tables for people: a short one for the terminal, all of them for a file that is committed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import stdev

from models.evaluation.measure import METRICS, Evaluation
from models.evaluation.metrics import SIGNIFICANT, Difference, Interval

SUMMARY = ("HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10", "MRR@10")  # the columns of the terminal, where measured


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def as_text(evaluation: Evaluation) -> str:
    """The main columns, for a terminal."""
    return aligned(summary(evaluation))


def aligned(table: Table) -> str:
    """A table under its title, for a terminal."""
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in (table.header, *table.rows)
    ]
    return "\n".join([table.title, *lines])


def as_markdown(evaluation: Evaluation, *more: Table) -> str:
    """Everything, for a file that is committed: what was measured, how, and how to measure it again; ``more`` last."""
    groups = dict.fromkeys(part.group for row in evaluation.rows for part in row.slices)
    tables = [
        metrics_table(evaluation),
        *([seeds_table(evaluation)] if evaluation.seeds else []),
        gains_table(evaluation),
        *(slices_table(evaluation, group) for group in groups),
        catalogue_table(evaluation),
        *([fusions_table(evaluation)] if evaluation.fusions else []),
        *more,
    ]
    return page(evaluation.dataset, _protocol(evaluation), evaluation.provenance, tables)


def page(title: str, protocol: str, provenance: Mapping[str, str], tables: Iterable[Table]) -> str:
    """Tables under a heading, in markdown: what was measured, how, on what, and the ``command`` that measures again."""
    facts = [protocol, *(f"{name}: {value}" for name, value in provenance.items() if name != "command")]
    listed = "\n".join(f"- {fact}" for fact in facts)
    heading = [f"# {title}", listed, f"```\n{provenance['command']}\n```"]
    return "\n\n".join([*heading, *map(section, tables)]) + "\n"


def section(table: Table) -> str:
    """A table under its title, in markdown."""
    lines: Iterable[Iterable[str]] = (table.header, ("---",) * len(table.header), *table.rows)
    return "\n".join([f"## {table.title}", "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def summary(evaluation: Evaluation) -> Table:
    """Means at the usual cutoffs, one of them with its half interval and the gain over the baseline."""
    measured = [name for row in evaluation.rows[:1] for name in row.metrics if not name.startswith("Recall")]
    names, main = [name for name in SUMMARY if name in measured] or measured, f"NDCG@{evaluation.cutoff}"
    return Table(
        f"{evaluation.dataset}: {_protocol(evaluation)}; gain of {main} over {evaluation.against}",
        ("", *names, f"coverage@{evaluation.cutoff}", "gain", "p"),
        tuple(
            (
                row.name,
                *(mean_and_half(row.metrics[n]) if n == main else f"{row.metrics[n].mean:.4f}" for n in names),
                f"{row.catalogue.coverage:.1%}",
                *((f"{row.gains[main].interval.mean:+.4f}", _p(row.gains[main])) if row.gains else ("", "")),
            )
            for row in evaluation.rows
        ),
    )


def metrics_table(evaluation: Evaluation) -> Table:
    """Every metric, mean ± half the interval. Recall is left to HR, which it equals."""
    names = [
        f"{metric}@{n}"
        for n in evaluation.config.cutoffs
        for metric in METRICS
        if metric != "Recall" and (n > 1 or metric == "HR")  # at 1 they are all the same
    ]
    rows = ((row.name, *(mean_and_half(row.metrics[name]) for name in names)) for row in evaluation.rows)
    return Table("Metrics, mean ± half of the 95 % interval (Recall = HR)", ("model", *names), tuple(rows))


def seeds_table(evaluation: Evaluation) -> Table:
    """The main metric for each seed, and the standard deviation over the seeds of both main metrics."""
    names = [f"{metric}@{evaluation.cutoff}" for metric in ("NDCG", "HR")]
    return Table(
        f"{names[0]} by seed, and standard deviation over seeds",
        ("model", *(f"seed {seed}" for seed in evaluation.seeds), *(f"{name}, deviation" for name in names)),
        tuple(
            (
                row.name,
                *(f"{value:.4f}" for value in row.by_seed[names[0]]),
                *(f"{stdev(row.by_seed[name]):.4f}" for name in names),
            )
            for row in evaluation.rows
        ),
    )


def gains_table(evaluation: Evaluation) -> Table:
    """Paired differences to the baseline, with p-values; significant ones are bold."""
    names = [f"{metric}@{evaluation.cutoff}" for metric in ("HR", "NDCG", "MRR")]
    main = f"NDCG@{evaluation.cutoff}"
    return Table(
        f"Gain over {evaluation.against}, paired; bold: p < {SIGNIFICANT}",
        ("model", *names, f"{main}, relative"),
        tuple(
            (
                row.name,
                *(gain_cell(row.gains[name]) for name in names),
                relative_cell(row.metrics[main], row.gains[main]),
            )
            for row in evaluation.rows
            if row.gains
        ),
    )


def slices_table(evaluation: Evaluation, group: str) -> Table:
    """NDCG of one group of slices."""
    metric = f"NDCG@{evaluation.cutoff}"
    parts = [part for part in evaluation.rows[0].slices if part.group == group]
    return Table(
        f"{metric} by {group}",
        ("model", *(f"{part.name} (n = {part.n_examples:,})" for part in parts)),
        tuple(
            (row.name, *(mean_and_half(part.metrics[metric]) for part in row.slices if part.group == group))
            for row in evaluation.rows
        ),
    )


def catalogue_table(evaluation: Evaluation) -> Table:
    """Coverage and popularity bias."""
    return Table(
        f"The catalogue in the first {evaluation.cutoff} places",
        ("model", "coverage", "Gini", "mean ln(1 + training interactions)"),
        tuple(
            (row.name, f"{use.coverage:.1%}", f"{use.gini:.3f}", f"{use.mean_log_popularity:.2f}")
            for row, use in ((row, row.catalogue) for row in evaluation.rows)
        ),
    )


def fusions_table(evaluation: Evaluation) -> Table:
    """What the fused rows were fused with, one column a seed."""
    others = ", not among sampled ones" if evaluation.protocol == "sampled" else ""
    return Table(
        f"Fusion settings, chosen on validation items ranked among all items{others}",
        ("model", *([f"seed {seed}" for seed in evaluation.seeds] or ["settings"])),
        tuple((name, *words) for name, words in evaluation.fusions.items()),
    )


def half(interval: Interval) -> float:
    """Half of an interval's width, the ± of a table."""
    return (interval.high - interval.low) / 2


def mean_and_half(interval: Interval) -> str:
    """A cell: the mean ± half of the interval."""
    return f"{interval.mean:.4f} ± {half(interval):.4f}"


def _protocol(evaluation: Evaluation) -> str:
    ranked = "full ranking of" if evaluation.protocol == "full" else "1 + 99 sampled of"
    seeds = f", mean over seeds {', '.join(map(str, evaluation.seeds))}" if evaluation.seeds else ""
    return f"{evaluation.n_examples:,} test items, {ranked} {evaluation.n_items:,}{seeds}"


def gain_cell(difference: Difference) -> str:
    """A cell: a paired difference ± half of the interval, bold where it is significant, and p."""
    value = f"{difference.interval.mean:+.4f} ± {half(difference.interval):.4f}"
    return f"{f'**{value}**' if difference.p_value < SIGNIFICANT else value}, p {_p(difference)}"


def relative_cell(value: Interval, difference: Difference) -> str:
    """A cell: a paired difference as a share of the baseline that ``value`` is compared with; –: that is nothing."""
    gain = difference.interval.mean
    baseline = value.mean - gain
    return f"{gain / baseline:+.1%}" if baseline > 0 else "–"


def _p(difference: Difference) -> str:
    return "< 0.001" if difference.p_value < 0.001 else f"{difference.p_value:.3f}"
