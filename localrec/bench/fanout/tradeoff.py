"""``localrec bench tradeoff``: what the trained models of a sweep rank, against what their fan-out costs.

Quality is the sweep's own, on validation items. Cost is measured here, with the very checkpoints and adapters that the
sweep trained: one history of a user to nine adapters (those that there are, in turn), alone and in a batch. The trials
take turns, so that their costs can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from localrec.bench.fanout.in_process import HISTORY, SLOTS, USERS, in_turn, item_prompts, load_model, queries
from localrec.bench.report import provenance, report
from localrec.run_directory import run_of
from models.contract.bundle import GLOBAL_ADAPTER
from models.evaluation.metrics import Interval
from models.evaluation.plots import bars, panels, save, style
from models.evaluation.tables import Table, mean_and_half, page
from models.experiments.sweep import load_points
from models.results import Results
from service.engine.model import LanguageModel, ModelSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC = "NDCG@10"
SEED = 0
TICKS_MS = (1, 2, 5, 10, 20, 50)


@dataclass(frozen=True)
class Priced:
    """A trial: its settings as text, its models' quality by name, and milliseconds a user, alone and in a batch."""

    settings: str
    quality: dict[str, Interval]
    alone_ms: float
    batch_ms: float


def run(trials: Sequence[Path], rounds: int, out: Path) -> dict[str, Any]:
    """Measure, write ``<out>.md``, ``<out>.png`` and ``<out>.svg``, and return the record.

    Args:
        trials: run directories below a run's ``sweeps``, measured on validation items.
        rounds: after two that warm up.
        out: path without a suffix.
    """
    made_with = provenance()
    torch.set_num_threads(1)
    priced = _priced(trials, rounds)
    out.parent.mkdir(parents=True, exist_ok=True)
    with style():
        save(_figure(priced), out)
    protocol = (
        f"{METRIC} on validation items, full ranking; milliseconds of one core for a history of {HISTORY} items and"
        f" nine adapters, float32, alone and as one of {USERS} users in a batch (share of the batch)"
    )
    table = page("Quality and cost of what carries adapters", protocol, made_with, [_table(priced)])
    out.with_name(f"{out.name}.md").write_text(table, encoding="utf-8")
    metrics = {f"{trial.settings}: {name}": value for trial in priced for name, value in _figures(trial).items()}
    return report("tradeoff", metrics)


def _priced(trials: Sequence[Path], rounds: int) -> list[Priced]:
    models = {path.name: _model(path) for path in trials}
    works = {}
    for name, (model, n_items) in models.items():
        prompts = item_prompts(n_items, USERS, SEED)
        alone, batch = queries(prompts[:1], SLOTS), queries(prompts, SLOTS)
        works[f"{name} alone"] = lambda model=model, asked=alone: model.answer(asked)
        works[f"{name} batch"] = lambda model=model, asked=batch: model.answer(asked)
    taken = in_turn(works, rounds)
    return [
        Priced(
            path.name, _quality(path), median(taken[f"{path.name} alone"]), median(taken[f"{path.name} batch"]) / USERS
        )
        for path in trials
    ]


def _model(trial: Path) -> tuple[LanguageModel, int]:
    """A trial's model with its communities' adapters, and the size of its catalogue."""
    config = run_of(trial)
    system = Results(trial, config).system()
    adapters = [path for name, path in system.adapters.items() if name != GLOBAL_ADAPTER]
    settings = ModelSettings(config.local.lora_rank, config.local.table_rank)
    return load_model(system.checkpoint, adapters, settings), system.cf.n_items


def _quality(trial: Path) -> dict[str, Interval]:
    return {point.model: point.metrics[METRIC] for point in load_points(trial / "measured" / "valid")}


def _figures(trial: Priced) -> dict[str, float]:
    quality = {f"{name}, {METRIC}": interval.mean for name, interval in trial.quality.items()}
    return {"alone_ms": trial.alone_ms, "batch_ms_a_user": trial.batch_ms} | quality


def _table(priced: Sequence[Priced]) -> Table:
    models = list(priced[0].quality)
    rows = [
        (
            trial.settings.replace("local.", ""),
            f"{trial.alone_ms:.2f}",
            f"{trial.batch_ms:.2f}",
            *(mean_and_half(trial.quality[model]) for model in models),
        )
        for trial in sorted(priced, key=lambda each: each.batch_ms)
    ]
    return Table("The cheapest first", ("settings", "alone, ms", "in a batch, ms", *models), tuple(rows))


def _figure(priced: Sequence[Priced]) -> "Figure":
    shown = ("global adapter", "local adapters, RRF", "served fusion")
    figure, axes_of = panels(f"{METRIC} on validation items against the cost of nine adapters", len(shown), height=4.2)
    for axes, model in zip(axes_of, shown, strict=True):
        for trial in priced:
            interval = trial.quality[model]
            label = trial.settings.replace("local.", "")
            axes.errorbar(trial.batch_ms, interval.mean, yerr=bars([interval]), fmt="o", elinewidth=0.5, label=label)
        axes.set_xscale("log", subs=[])
        axes.set_xticks(TICKS_MS, [f"{tick:g}" for tick in TICKS_MS])
        axes.set_xlabel("ms a user in a batch, one core")
        axes.set_title(model, fontsize=9)
    axes_of[0].set_ylabel(METRIC)
    figure.legend(*axes_of[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
