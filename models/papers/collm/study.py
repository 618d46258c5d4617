"""CoLLM's experiments over several seeds, measured together."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import make
from models.contract.errors import ConfigError
from models.contract.types import Floats
from models.data.labelled import LabelledData
from models.evaluation.metrics import Difference, Interval
from models.evaluation.pointwise import METRICS, auc, compare, measure, subsets
from models.papers.collm.config import CoLLMConfig, check_backbone
from models.papers.collm.cost import ScoringCost
from models.papers.collm.experiments import CF_NAMES, MAPPED_ROWS, TALLREC, Experiments, Row
from models.papers.collm.task import mean_probability
from models.types import Report

SUBSETS = ("all", "warm", "cold")
ENSEMBLES: Mapping[str, tuple[str, str]] = {"MF + TALLRec": ("MF", "TALLRec"), "MF + CoLLM-MF": ("MF", "CoLLM-MF")}
SECTION = "collm"

BySeed = Mapping[int, Floats]  # (n,) scores of the test pairs


@dataclass(frozen=True)
class Measured:
    """One row of the tables. Intervals are 95 %, over users; over several seeds everything is a mean.

    Args:
        name: of the row.
        seeds: how many.
        metrics: by subset of the test pairs and metric.
        spread: standard deviation of the AUC over seeds, 0 for one.
        differences: by rival and metric, on all test pairs: to TALLRec, and to the row's own collaborative model. The
            p-value is the largest of the seeds'.
        training_seconds: of this row's own step; None of an ensemble.
        scoring_seconds: of the test pairs; None of an ensemble.
    """

    name: str
    seeds: int
    metrics: Mapping[str, Mapping[str, Interval]]
    spread: float
    differences: Mapping[str, Mapping[str, Difference]]
    training_seconds: float | None
    scoring_seconds: float | None


def load_settings(path: Path) -> CoLLMConfig:
    """Read a TOML file with one section, ``[collm]``.

    Raises:
        ConfigError: it cannot be read, has another section, or settings that cannot be used.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    if unknown := document.keys() - {SECTION}:
        raise ConfigError(f"{path}: {', '.join(sorted(unknown))}: unknown section; expected {SECTION}")
    config = make(CoLLMConfig, document.get(SECTION, {}), SECTION)
    check_backbone(config)
    return config


class CoLLMStudy:
    """All rows over several seeds.

    Args:
        config: of all rows, but for what tells them apart.
        data: directory of labelled pairs.
        run: everything is kept in it, so that an interrupted study goes on.
        seeds: distinct.
        report: told of every step.
    """

    def __init__(self, config: CoLLMConfig, data: Path, run: Path, seeds: Sequence[int], report: Report) -> None:
        self._experiments = {seed: Experiments(config, data, run, seed, report) for seed in seeds}

    def run(self, rows: Sequence[Row]) -> None:
        """Train and score the rows, of one seed after the other, unless that is done."""
        for experiments in self._experiments.values():
            for row in rows:
                experiments.run(row)

    def measured(self, rows: Sequence[Row]) -> list[Measured]:
        """The rows that are over for at least one seed, and the ensembles of them."""
        scores = {row.name: by_seed for row in rows if (by_seed := self._scores(row))}
        for name, (one, other) in ENSEMBLES.items():
            if both := scores.get(one, {}).keys() & scores.get(other, {}).keys():
                scores[name] = {seed: mean_probability([scores[one][seed], scores[other][seed]]) for seed in both}
        costs = {row.name: self._costs(row, scores[row.name]) for row in rows if row.name in scores}
        return [self._measured(name, scores, costs.get(name)) for name in scores]

    def scoring_costs(self, n_pairs: int) -> dict[str, ScoringCost]:
        """Of TALLRec and CoLLM-MF (Table VI), of the first seed, where they are over."""
        first = next(iter(self._experiments.values()))
        return first.scoring_costs([TALLREC, MAPPED_ROWS["mf"]], n_pairs)

    @cached_property
    def data(self) -> LabelledData:
        """The labelled pairs."""
        return next(iter(self._experiments.values())).data

    @cached_property
    def _subsets(self) -> dict[str, NDArray[np.int64]]:
        found = subsets(self.data.train, self.data.test)
        return {name: found[name] for name in SUBSETS}

    def _scores(self, row: Row) -> BySeed:
        return {seed: each.scores(row) for seed, each in self._experiments.items() if each.finished(row)}

    def _costs(self, row: Row, seeds: Iterable[int]) -> tuple[float, float]:
        costs = [self._experiments[seed].costs(row) for seed in seeds]
        training, scoring = ([each[key] for each in costs] for key in ("training_seconds", "scoring_seconds"))
        return float(np.mean(training)), float(np.mean(scoring))

    def _measured(self, name: str, scores: Mapping[str, BySeed], costs: tuple[float, float] | None) -> Measured:
        own = scores[name]
        aucs = [auc(each, self.data.test.labels) for each in own.values()]
        return Measured(
            name=name,
            seeds=len(own),
            metrics={subset: self._metrics(own, rows) for subset, rows in self._subsets.items()},
            spread=float(np.std(aucs, ddof=1)) if len(aucs) > 1 else 0.0,
            differences={rival: self._gains(own, scores[rival]) for rival in _rivals(name) if rival in scores},
            training_seconds=costs[0] if costs else None,
            scoring_seconds=costs[1] if costs else None,
        )

    def _metrics(self, scores: BySeed, rows: NDArray[np.int64]) -> dict[str, Interval]:
        pairs = self.data.test.take(rows)
        found = [measure(pairs, each[rows]) for each in scores.values()]
        return {metric: _mean([each[metric] for each in found]) for metric in METRICS}

    def _gains(self, scores: BySeed, rival: BySeed) -> dict[str, Difference]:
        shared = sorted(scores.keys() & rival.keys())
        found = [compare(self.data.test, scores[seed], rival[seed]) for seed in shared]
        return {metric: _mean_difference([each[metric] for each in found]) for metric in METRICS if found}


def _rivals(name: str) -> list[str]:
    own = [cf for cf in CF_NAMES.values() if cf in name and cf != name]
    return [rival for rival in (TALLREC.name, *own) if rival != name]


def _mean(intervals: Sequence[Interval]) -> Interval:
    means = np.mean([(each.mean, each.low, each.high) for each in intervals], axis=0)
    return Interval(*(float(value) for value in means))


def _mean_difference(differences: Sequence[Difference]) -> Difference:
    return Difference(_mean([each.interval for each in differences]), max(each.p_value for each in differences))
