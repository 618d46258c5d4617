"""What a sweep gives: some models' metrics over the values of some settings; as JSON, markdown and pictures.

The document, JSON (an interval is ``{"mean", "low", "high"}``, 95 % bootstrap over examples)::

    dataset, examples  the run's name; "valid" or "test"
    n_examples
    provenance         commit, hardware, command: text
    points             one a value of a setting and a model: {"axis", "value", "model", "metrics": {"HR@5": interval …}}
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from models.contract.types import Ints
from models.evaluation.measure import as_json, metric_values
from models.evaluation.metrics import Interval, bootstrap, ranks_in_lists
from models.evaluation.plots import bars, panels, save, style
from models.evaluation.tables import Table, mean_and_half, page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CUTOFFS = (5, 10)
METRICS = ("HR@5", "NDCG@5", "HR@10", "NDCG@10")  # in the order of the paper's tables
DRAWN = ("NDCG@10", "HR@10")
BOOTSTRAP_SEED = 0

Measured = Literal["valid", "test"]

_POINTS = "points.json"


@dataclass(frozen=True)
class Point:
    """One model under one value of one setting.

    Args:
        axis: the setting.
        value: its value, as text.
        model: name of the model.
        metrics: see the module.
    """

    axis: str
    value: str
    model: str
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Sweep:
    """The document, see the module."""

    dataset: str
    examples: Measured
    n_examples: int
    provenance: dict[str, str]
    points: tuple[Point, ...]

    @property
    def axes(self) -> list[str]:
        """The settings that were varied."""
        return list(dict.fromkeys(point.axis for point in self.points))


def measured(axis: str, value: str, lists: Mapping[str, Ints], targets: Ints) -> list[Point]:
    """The points of the models whose lists (n, length) these are, for targets (n,)."""
    return [Point(axis, value, model, _metrics(found, targets)) for model, found in lists.items()]


def save_points(points: Sequence[Point], directory: Path) -> None:
    """Keep the points of a stage."""
    (directory / _POINTS).write_bytes(msgspec.json.format(msgspec.json.encode(points)))


def load_points(directory: Path) -> list[Point]:
    """The points that a stage has kept."""
    return msgspec.json.decode((directory / _POINTS).read_bytes(), type=list[Point])


def write(sweep: Sweep, out: Path) -> list[Path]:
    """``<out>.json``, ``<out>.md``, and a picture an axis in the directory ``out``; the files that were written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    document, markdown = out.with_name(f"{out.name}.json"), out.with_name(f"{out.name}.md")
    document.write_bytes(as_json(sweep))
    markdown.write_text(as_markdown(sweep), encoding="utf-8")
    return [document, markdown, *draw(sweep, out)]


def as_markdown(sweep: Sweep) -> str:
    """One table an axis: of one value all metrics of each model, of more the main ones of each value."""
    tables = [table for axis in sweep.axes for table in _tables(sweep, axis)]
    protocol = f"{_protocol(sweep)}; mean ± half of the 95 % interval"
    return page(f"{sweep.dataset}: {', '.join(sweep.axes)}", protocol, sweep.provenance, tables)


def draw(sweep: Sweep, directory: Path) -> list[Path]:
    """A picture for each axis with more than one value; the files that were written into ``directory``."""
    axes = [axis for axis in sweep.axes if len(_values(sweep, axis)) > 1]
    with style():
        return [path for axis in axes for path in save(_figure(sweep, axis), directory / axis.replace(" ", ""))]


def _metrics(lists: Ints, targets: Ints) -> dict[str, Interval]:
    values = metric_values(ranks_in_lists(lists, targets), CUTOFFS)
    return {name: bootstrap(values[name], BOOTSTRAP_SEED) for name in METRICS}


def _values(sweep: Sweep, axis: str) -> list[str]:
    return list(dict.fromkeys(point.value for point in sweep.points if point.axis == axis))


def _models(sweep: Sweep, axis: str) -> list[str]:
    return list(dict.fromkeys(point.model for point in sweep.points if point.axis == axis))


def _of_model(sweep: Sweep, axis: str, model: str) -> dict[str, Point]:
    """A model's points by value."""
    return {point.value: point for point in sweep.points if (point.axis, point.model) == (axis, model)}


def _tables(sweep: Sweep, axis: str) -> Iterable[Table]:
    values, models = _values(sweep, axis), _models(sweep, axis)
    points = {model: _of_model(sweep, axis, model) for model in models}
    if len(values) == 1:
        cells = ((model, *(mean_and_half(points[model][values[0]].metrics[m]) for m in METRICS)) for model in models)
        return [Table(f"{axis}: {values[0]}", ("model", *METRICS), tuple(cells))]
    return [
        Table(
            f"{metric} over {axis}",
            (axis, *models),
            tuple((value, *(_cell(points[model].get(value), metric) for model in models)) for value in values),
        )
        for metric in DRAWN
    ]


def _cell(point: Point | None, metric: str) -> str:
    return "–" if point is None else mean_and_half(point.metrics[metric])


def _figure(sweep: Sweep, axis: str) -> "Figure":
    """One line a model, with the intervals."""
    figure, axes_of = panels(f"{sweep.dataset}: {_protocol(sweep)}", len(DRAWN), height=3.6)
    values, models = _values(sweep, axis), _models(sweep, axis)
    places = {value: place for place, value in enumerate(values)}  # k from 0 to 100 would crowd near 0
    for axes, metric in zip(axes_of, DRAWN, strict=True):
        for number, model in enumerate(models):
            points = _of_model(sweep, axis, model)
            intervals = [point.metrics[metric] for point in points.values()]
            beside = 0.2 * (number - len(models) / 2) / len(models)
            x, y = [places[value] + beside for value in points], [i.mean for i in intervals]
            axes.errorbar(x, y, yerr=bars(intervals), marker="o", ms=3, lw=1, elinewidth=0.5, label=model)
        axes.set_xticks(range(len(values)), [_one_below_the_other(value) for value in values])
        axes.set_xlabel(axis)
        axes.set_ylabel(metric)
    figure.legend(*axes_of[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _one_below_the_other(value: str) -> str:
    """A value that is a list, so that it does not run into its neighbours; of a grid's values there are few enough."""
    return re.sub(",(?! )", "\n", value)


def _protocol(sweep: Sweep) -> str:
    words = {"valid": "validation", "test": "test"}
    return f"{sweep.n_examples:,} {words[sweep.examples]} items, full ranking"
