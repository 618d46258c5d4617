"""What is measured of every model's ranked lists on held-out items, and the document that keeps it.

Every model ends as ranked lists, and lists are what is measured: an item that would not be shown is a miss. With one
target an example, Recall@n is HR@n; both are kept under their names.

The document, JSON (an interval is ``{"mean", "low", "high"}``: the mean over examples, 95 % bootstrap bounds)::

    schema_version   1
    dataset          the run's name
    protocol         "full": ranked among all items; "sampled": among the target and 99 others (``negatives``)
    n_examples, n_items
    against          name of the row that the others are compared with
    config           cutoffs, and the seed of the bootstrap
    provenance       bundle, seed, commit, hardware, command: text
    fusions          {"served fusion": ["rrf, k = 10, cf 0.5" …] …}: settings of every fused row, one a run, chosen on
                     validation items that were ranked among all items, whatever the protocol
    seeds            of the runs that were measured together; [] for one run. Metrics, gains and slices are then of each
                     example's mean over the seeds, catalogue is the mean over the seeds
    rows             one a model:
      name
      metrics        {"HR@10": interval, "Recall@10", "NDCG@10", "MRR@10", "HR@5" …}
      gains          {"HR@10": {"interval", "p_value"} …}: paired differences to ``against``, p two-sided and not
                     corrected for the number of rows; {} for ``against`` itself
      slices         [{"group", "name", "n_examples", "metrics"}]: HR and NDCG of some of the examples
      by_seed        {"HR@10": [mean over the examples for each seed] …}; {} for one run
      catalogue      {"coverage", "gini", "mean_log_popularity"} of the first ``cutoff`` places, see ``catalogue_use``
    cutoff           the one of the slices and of the catalogue's use: 10, or the largest
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.config import option
from models.contract.errors import ConfigError
from models.contract.types import Ints
from models.data.dataset import Dataset
from models.evaluation.catalogue_use import CatalogueUse, catalogue_use, mean_use
from models.evaluation.metrics import (
    Difference,
    Interval,
    Ranks,
    bootstrap,
    hit_rate,
    mrr,
    ndcg,
    paired_bootstrap,
    ranks_in_lists,
)
from models.evaluation.slices import Slice, slices, training_counts
from models.types import Examples

SCHEMA_VERSION = 1
METRICS = {"HR": hit_rate, "Recall": hit_rate, "NDCG": ndcg, "MRR": mrr}
SLICE_METRICS = ("HR", "NDCG")
USUAL_CUTOFF = 10
LIST_LENGTH = 20

Protocol = Literal["full", "sampled"]


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured."""

    cutoffs: tuple[int, ...] = option((1, 5, 10, 20), "Lengths at which the metrics are cut off.", low=1)
    seed: int = option(0, "Seed of the bootstrap.", low=0)

    @property
    def cutoff(self) -> int:
        """The one cutoff where there is room for one only."""
        return USUAL_CUTOFF if USUAL_CUTOFF in self.cutoffs else max(self.cutoffs)

    @property
    def list_length(self) -> int:
        """Length of the lists that are asked for: never less than 20, so that few cutoffs ask for other lists."""
        return max(LIST_LENGTH, *self.cutoffs)


@dataclass(frozen=True)
class HeldOut:
    """What lists are measured on: ``training_counts`` is (n_items,), see :func:`training_counts`."""

    examples: Examples
    training_counts: NDArray[np.int64]

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """A data set's test examples."""
        return cls(dataset.examples("test"), training_counts(dataset))

    @cached_property
    def slices(self) -> list[Slice]:
        """See :func:`models.evaluation.slices.slices`."""
        return slices(self.examples, self.training_counts)


@dataclass(frozen=True)
class SliceMetrics:
    """One model on some of the examples."""

    group: str
    name: str
    n_examples: int
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Row:
    """All that is measured of one model, see the module."""

    name: str
    metrics: dict[str, Interval]
    gains: dict[str, Difference]
    slices: tuple[SliceMetrics, ...]
    catalogue: CatalogueUse
    by_seed: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The document, see the module."""

    dataset: str
    protocol: Protocol
    n_examples: int
    n_items: int
    against: str
    config: EvaluateConfig
    cutoff: int
    provenance: dict[str, str]
    rows: tuple[Row, ...]
    fusions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    schema_version: int = SCHEMA_VERSION


def evaluation_of(
    runs: Sequence[Mapping[str, Ints]],
    held_out: HeldOut,
    config: EvaluateConfig,
    *,
    dataset: str,
    protocol: Protocol,
    against: str,
    provenance: dict[str, str],
    fusions: Sequence[Mapping[str, str]] = (),
    seeds: tuple[int, ...] = (),
) -> Evaluation:
    """The document: what :func:`measure` finds in the runs' lists, and what it was found on.

    ``fusions`` are each run's settings of the fused rows, in words.

    Raises:
        ConfigError: there is no model ``against``.
    """
    return Evaluation(
        dataset=dataset,
        protocol=protocol,
        n_examples=len(held_out.examples),
        n_items=len(held_out.training_counts),
        against=against,
        config=config,
        cutoff=config.cutoff,
        provenance=provenance,
        rows=measure(runs, held_out, config, against),
        fusions={name: tuple(words[name] for words in fusions) for name in (fusions[0] if fusions else ())},
        seeds=seeds,
    )


def measure(
    runs: Sequence[Mapping[str, Ints]], held_out: HeldOut, config: EvaluateConfig, against: str
) -> tuple[Row, ...]:
    """One row a model, over runs that differ in their seeds.

    A metric of an example is its mean over the runs. Intervals and p-values resample examples as if they were
    independent, so they say how far the result holds for other examples: for other users, where each has one example,
    as with leave-one-out. Where users have several (splits by windows or time), those of a user are alike, and the
    intervals are too narrow. ``by_seed`` says how far the result holds for other seeds.

    Args:
        runs: one a seed: (n_examples, length) by model, as long as the largest cutoff at least.
        held_out: the examples, in the lists' order.
        config: see :class:`EvaluateConfig`.
        against: the model that the others are compared with.

    Raises:
        ConfigError: there is no such model.
    """
    ranks = _ranks(runs, held_out)
    means = {name: _means(found, config) for name, found in ranks.items()}
    gains = _gains(means, config.seed, against)
    return tuple(
        Row(
            name=name,
            metrics={metric: bootstrap(values, config.seed) for metric, values in means[name].items()},
            gains=gains[name],
            slices=tuple(_slice_metrics(found, part, config) for part in held_out.slices),
            catalogue=mean_use([catalogue_use(run[name], config.cutoff, held_out.training_counts) for run in runs]),
            by_seed=_by_seed(found, config) if len(runs) > 1 else {},
        )
        for name, found in ranks.items()
    )


def compared(evaluation: Evaluation, runs: Sequence[Mapping[str, Ints]], held_out: HeldOut, against: str) -> Evaluation:
    """The same models, compared with another one of them: of what was measured only the gains change.

    Args:
        evaluation: of these runs.
        runs: see :func:`measure`.
        held_out: see :func:`measure`.
        against: see :func:`measure`.

    Raises:
        ConfigError: there is no such model.
    """
    means = {name: _means(found, evaluation.config) for name, found in _ranks(runs, held_out).items()}
    gains = _gains(means, evaluation.config.seed, against)
    rows = tuple(replace(row, gains=gains[row.name]) for row in evaluation.rows)
    return replace(evaluation, against=against, rows=rows)


def check_against(against: str, names: Iterable[str]) -> None:
    """Raises ConfigError where none of the models has this name."""
    known = list(names)
    if against not in known:
        raise ConfigError(f"against: {against!r}; expected one of {', '.join(known)}")


def as_json(document: object) -> bytes:
    """A document for a file that people read, too."""
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def write_document(document: object, markdown: str, out: Path) -> list[Path]:
    """Write ``OUT.json`` and ``OUT.md``; the files that were written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    files = {".json": as_json(document), ".md": markdown.encode()}
    written = [out.with_name(f"{out.name}{suffix}") for suffix in files]
    for path, content in zip(written, files.values(), strict=True):
        path.write_bytes(content)
    return written


def metric_values(ranks: Ranks, cutoffs: Iterable[int]) -> dict[str, Ranks]:
    """Every metric of every example (m,), ``HR@1`` …"""
    return {f"{name}@{n}": metric(ranks, n) for n in cutoffs for name, metric in METRICS.items()}


def _ranks(runs: Sequence[Mapping[str, Ints]], held_out: HeldOut) -> dict[str, list[Ranks]]:
    """Ranks of the targets by model, one array a run."""
    return {name: [ranks_in_lists(lists[name], held_out.examples.targets) for lists in runs] for name in runs[0]}


def _means(by_seed: Sequence[Ranks], config: EvaluateConfig) -> dict[str, Ranks]:
    """Every metric of every example, mean over the seeds."""
    found = [metric_values(ranks, config.cutoffs) for ranks in by_seed]
    # Rounded, so that the order of the seeds makes no new values: the fewer they are, the less a bootstrap takes.
    return {name: np.mean([values[name] for values in found], axis=0).round(12) for name in found[0]}


def _by_seed(by_seed: Sequence[Ranks], config: EvaluateConfig) -> dict[str, list[float]]:
    found = [metric_values(ranks, config.cutoffs) for ranks in by_seed]
    return {name: [float(values[name].mean()) for values in found] for name in found[0]}


def _gains(means: Mapping[str, Mapping[str, Ranks]], seed: int, against: str) -> dict[str, dict[str, Difference]]:
    """Every model's gains over one of them, which has none over itself; from what :func:`_means` gives of each."""
    check_against(against, means)
    others = {name: values for name, values in means.items() if name != against}
    gains = {
        name: {metric: paired_bootstrap(values[metric], means[against][metric], seed) for metric in values}
        for name, values in others.items()
    }
    return gains | {against: {}}


def _slice_metrics(by_seed: Sequence[Ranks], part: Slice, config: EvaluateConfig) -> SliceMetrics:
    means = _means([ranks[part.rows] for ranks in by_seed], config)
    metrics = {
        f"{name}@{config.cutoff}": bootstrap(means[f"{name}@{config.cutoff}"], config.seed) for name in SLICE_METRICS
    }
    return SliceMetrics(part.group, part.name, len(part.rows), metrics)
