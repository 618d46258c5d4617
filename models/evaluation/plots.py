"""Pictures of an evaluation's tables, each as PNG and SVG. matplotlib is imported when one is drawn."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.evaluation.measure import Evaluation
from models.evaluation.metrics import SIGNIFICANT, Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE: Any = {  # matplotlib types its keys as a literal of all names that it has
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "grid.alpha": 0.3,
    "savefig.dpi": 150,
    "svg.hashsalt": "localrec",  # the same evaluation gives the same file
}


def draw(evaluation: Evaluation, directory: Path) -> list[Path]:
    """Draw metrics, gains, slices and the catalogue's use; the files that were written into ``directory``."""
    figures = {"metrics": _metrics, "gains": _gains, "slices": _slices, "catalogue": _catalogue}
    with style():
        return [path for name, figure in figures.items() for path in save(figure(evaluation), directory / name)]


@contextmanager
def style() -> Iterator[None]:
    """How everything is drawn."""
    import matplotlib as mpl  # noqa: PLC0415 - only those who draw wait for it
    from cycler import cycler  # noqa: PLC0415 - comes with matplotlib

    tab20 = mpl.colormaps["tab20"]  # there are more models than the usual ten colours
    with mpl.rc_context(STYLE | {"axes.prop_cycle": cycler("color", [tab20(number) for number in range(20)])}):
        yield


def _metrics(evaluation: Evaluation) -> "Figure":
    """HR and NDCG with their intervals, the best model on top."""
    metrics = [f"{name}@{evaluation.cutoff}" for name in ("HR", "NDCG")]
    rows = sorted(evaluation.rows, key=lambda row: row.metrics[metrics[1]].mean)
    figure, axes_of = panels(_title(evaluation), len(metrics), height=0.35 * len(rows) + 1.2, sharey=True)
    for axes, metric in zip(axes_of, metrics, strict=True):
        intervals = [row.metrics[metric] for row in rows]
        colours = ["tab:gray" if row.name == evaluation.against else "tab:blue" for row in rows]
        names = [row.name for row in rows]
        axes.barh(names, [i.mean for i in intervals], xerr=bars(intervals), color=colours, ecolor="black")
        axes.set_xlabel(metric)
    return figure


def _gains(evaluation: Evaluation) -> "Figure":
    """Paired differences to the baseline with their intervals, the best model on top; filled: significant."""
    metrics = [f"{name}@{evaluation.cutoff}" for name in ("HR", "NDCG")]
    rows = sorted((row for row in evaluation.rows if row.gains), key=lambda row: row.gains[metrics[1]].interval.mean)
    figure, axes_of = panels(_title(evaluation), len(metrics), height=0.35 * len(rows) + 1.2, sharey=True)
    for axes, metric in zip(axes_of, metrics, strict=True):
        axes.axvline(0, color="tab:gray", lw=1)
        for row in rows:
            gain = row.gains[metric]
            filled = "tab:blue" if gain.p_value < SIGNIFICANT else "white"
            axes.errorbar(
                gain.interval.mean, row.name, xerr=bars([gain.interval]), fmt="o", color="tab:blue", mfc=filled
            )
        axes.set_xlabel(f"{metric}, gain over {evaluation.against}")
    return figure


def _slices(evaluation: Evaluation) -> "Figure":
    """NDCG over history length, and over the target's popularity."""
    metric = f"NDCG@{evaluation.cutoff}"
    groups = list(dict.fromkeys(part.group for part in evaluation.rows[0].slices))
    figure, axes_of = panels(_title(evaluation), len(groups), height=3.6)
    for axes, group in zip(axes_of, groups, strict=True):
        for place, row in enumerate(evaluation.rows):
            parts = [part for part in row.slices if part.group == group]
            intervals = [part.metrics[metric] for part in parts]
            beside = [number + 0.04 * (place - len(evaluation.rows) / 2) for number in range(len(parts))]
            means, lengths = [i.mean for i in intervals], bars(intervals)
            axes.errorbar(beside, means, yerr=lengths, marker="o", ms=3, lw=1, elinewidth=0.5, label=row.name)
        names = [f"{part.name}\n{part.n_examples:,}" for part in parts]
        axes.set_xticks(range(len(parts)), names)
        axes.set_xlabel(f"{group}; number of examples")
        axes.set_ylabel(metric)
    figure.legend(*axes_of[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _catalogue(evaluation: Evaluation) -> "Figure":
    """What accuracy costs: coverage and popularity of each model's lists."""
    metric = f"NDCG@{evaluation.cutoff}"
    figure, axes_of = panels(_title(evaluation), 2, height=3.6, sharey=True)
    uses = {
        f"coverage@{evaluation.cutoff}": [row.catalogue.coverage for row in evaluation.rows],
        "mean ln(1 + training interactions)": [row.catalogue.mean_log_popularity for row in evaluation.rows],
    }
    for axes, (name, values) in zip(axes_of, uses.items(), strict=True):
        for row, value in zip(evaluation.rows, values, strict=True):
            axes.plot(value, row.metrics[metric].mean, "o", label=row.name)
        axes.set_xlabel(name)
    axes_of[0].set_ylabel(metric)
    figure.legend(*axes_of[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def ablation_figure(evaluation: Evaluation, marked: str) -> "Figure":
    """HR and NDCG as bars in the table's order, the whole model's, ``marked``, in another colour."""
    rows = evaluation.rows[::-1]
    metrics = [f"{name}@{evaluation.cutoff}" for name in ("NDCG", "HR")]
    title = f"{evaluation.dataset}: ablations, {evaluation.n_examples:,} test items"
    figure, axes_of = panels(title, len(metrics), height=0.35 * len(rows) + 1.2, sharey=True)
    for axes, metric in zip(axes_of, metrics, strict=True):
        intervals = [row.metrics[metric] for row in rows]
        colours = ["tab:orange" if row.name == marked else "tab:blue" for row in rows]
        names = [row.name for row in rows]
        axes.barh(names, [i.mean for i in intervals], xerr=bars(intervals), color=colours, ecolor="black")
        axes.set_xlabel(metric)
    return figure


def panels(title: str, n: int, *, height: float, sharey: bool = False) -> "tuple[Figure, Sequence[Axes]]":
    """A figure with ``n`` panels side by side. No window system is touched: it is only ever written to files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - see style
    from matplotlib.figure import Figure  # noqa: PLC0415 - see style

    figure = Figure(figsize=(9, height))
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    return figure, figure.subplots(1, n, squeeze=False, sharey=sharey)[0].tolist()


def bars(intervals: Sequence[Interval]) -> list[list[float]]:
    """Lengths of the error bars, below and above. Where all values are the same, rounding may put the mean outside."""
    return [[max(i.mean - i.low, 0.0) for i in intervals], [max(i.high - i.mean, 0.0) for i in intervals]]


def save(figure: "Figure", path: Path) -> list[Path]:
    """Write PNG and SVG, without a date, so that the same figures give the same files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_name(f"{path.name}{suffix}") for suffix in (".png", ".svg")]
    figure.savefig(files[0], metadata={"Software": None})
    figure.savefig(files[1], metadata={"Date": None})
    return files


def _title(evaluation: Evaluation) -> str:
    ranking = "full ranking" if evaluation.protocol == "full" else "1 + 99 sampled"
    seeds = f", mean over {len(evaluation.seeds)} seeds" if evaluation.seeds else ""
    return f"{evaluation.dataset}: {evaluation.n_examples:,} test items, {ranking}{seeds}"
