"""The paper's experiments, a stage on disk for each: training, and the scores of the test pairs.

```
<run>/seed-0/cf/mf        a collaborative model            (Table II, "Collab.")
<run>/seed-0/text         step 1: TALLRec, "w/o CIE"
<run>/seed-0/icl          the backbone untuned
<run>/seed-0/mf-mapping   CoLLM-MF; mf-T1 …: Table V; mf-UI-token: Table IV
```

Each directory has ``test.npy``, logits (n,) float32 of the test pairs in their order, and ``cost.json``, seconds.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from models.cf.pointwise.models import CONFIGS, Kind, load
from models.cf.pointwise.train import predict
from models.contract.types import Floats
from models.data.labelled import LabelledData, read_labelled
from models.llm.source import local_files
from models.papers.collm.config import CoLLMConfig, Tuning
from models.papers.collm.cost import ScoringCost, scoring_costs
from models.papers.collm.model import CoLLM
from models.papers.collm.task import scores_of
from models.papers.collm.tuning import Inputs, cf_config, feature_model, pretrain, text_model, tune
from models.stage import COST, RECORD, holds, run_stage
from models.training.device import training_device
from models.types import Report

SCORES = "test.npy"
STAGE_VERSION = 1
_SECOND_STEP = ("cf", "embedding_size", "tuning", "mapping_factor", "feature_learning_rate", "feature_epochs")


@dataclass(frozen=True)
class Row:
    """One model of the tables.

    Args:
        name: as the paper has it.
        stage: its directory below the seed's.
        cf: its collaborative model, where it has one.
        tuning: how it was tuned, of CoLLM.
    """

    name: str
    stage: str
    cf: Kind | None = None
    tuning: Tuning | None = None


CF_NAMES: Mapping[Kind, str] = {"mf": "MF", "lightgcn": "LightGCN", "sasrec": "SASRec", "din": "DIN"}
CF_ROWS = tuple(Row(CF_NAMES[kind], f"cf/{kind}", kind) for kind in CONFIGS)
TALLREC, ICL = Row("TALLRec", "text"), Row("ICL", "icl")
MAPPED_ROWS: Mapping[Kind, Row] = {
    kind: Row(f"CoLLM-{CF_NAMES[kind]}", f"{kind}-mapping", kind, "mapping") for kind in CONFIGS
}
"""CoLLM by the paper's default, two steps of which the second tunes the mapping alone."""


def tuned(cf: Kind, choice: Tuning) -> Row:
    """CoLLM tuned otherwise (Table V), or the ablation w/ UI-token (Table IV)."""
    return Row(f"CoLLM-{CF_NAMES[cf]} {choice}", f"{cf}-{choice}", cf, choice)


def all_rows() -> tuple[Row, ...]:
    """All models, those first without which the others say little. The paper's CoLLM-DIN on ML-1M is its T1."""
    mapped = MAPPED_ROWS
    first = (TALLREC, ICL, mapped["mf"], mapped["din"])
    choices = (tuned("mf", "T2"), tuned("mf", "T1"), tuned("din", "T1"), tuned("mf", "UI-token"), tuned("mf", "T3"))
    return (*CF_ROWS, *first, *choices, mapped["sasrec"], mapped["lightgcn"])


class Experiments:
    """The rows of one configuration and seed.

    Args:
        config: of all rows, but for the collaborative model, the tuning and the seed.
        data: directory that :func:`models.data.labelled.read_labelled` reads.
        run: the seeds' directories are made in it.
        seed: replaces the configuration's.
        report: told of every step.
    """

    def __init__(self, config: CoLLMConfig, data: Path, run: Path, seed: int, report: Report) -> None:
        self._config = replace(config, seed=seed)
        self._data_directory = data
        self._directory = run / f"seed-{seed}"
        self._report = report

    @cached_property
    def data(self) -> LabelledData:
        """The labelled pairs."""
        return read_labelled(self._data_directory)

    def finished(self, row: Row) -> bool:
        """Whether a row's stage is over, with these settings and these data; one that was made otherwise is named."""
        directory = self._directory / row.stage
        if not (directory / RECORD).exists():
            return False
        found = holds(directory, **self._stage(row))
        if not found:
            self._report(f"seed {self._config.seed}: {row.name} was made with other settings or data; left out")
        return found

    def scores(self, row: Row) -> Floats:
        """(n,) logits of the test pairs, of a row that is over."""
        scores: Floats = np.load(self._directory / row.stage / SCORES)
        return scores

    def costs(self, row: Row) -> dict[str, float]:
        """Seconds of training and of scoring the test pairs."""
        costs: dict[str, float] = json.loads((self._directory / row.stage / COST).read_text())
        return costs

    def run(self, row: Row) -> None:
        """Train and score a row, and what it is built on, unless that is done."""
        for needed in self._needed(row):
            self.run(needed)
        config = self._settings(row)
        run_stage(
            self._directory / row.stage,
            **self._stage(row),
            work=lambda directory: self._work(row, config, directory),
            resumable=True,
        )

    def scoring_costs(self, rows: Sequence[Row], n_pairs: int) -> dict[str, ScoringCost]:
        """Of language models that are over; see :func:`models.papers.collm.cost.scoring_costs`."""
        models = {
            row.name: self._model(row, self._settings(row), self._directory / row.stage).to(training_device())
            for row in rows
            if self.finished(row)
        }
        return scoring_costs(models, self._inputs, n_pairs)

    def _stage(self, row: Row) -> dict[str, Any]:
        """What a row's result is known by; see :func:`models.stage.run_stage`."""
        needed = {needed.stage: self._directory / needed.stage for needed in self._needed(row)}
        return {
            "name": row.stage,
            "version": STAGE_VERSION,
            "config": _recorded(row, self._settings(row)),
            "inputs": self._files(row) | needed,
        }

    def _work(self, row: Row, config: CoLLMConfig, directory: Path) -> None:
        self._report(f"seed {config.seed}: {row.name}")
        work = self._fit_cf if row in CF_ROWS else self._fit_language_model
        training_seconds, score = work(row, config, directory)
        started = time.perf_counter()
        np.save(directory / SCORES, score())
        costs = {"training_seconds": training_seconds, "scoring_seconds": time.perf_counter() - started}
        (directory / COST).write_text(json.dumps(costs) + "\n")

    def _fit_cf(self, row: Row, config: CoLLMConfig, directory: Path) -> tuple[float, Callable[[], Floats]]:
        started = time.perf_counter()
        reached = pretrain(config, self.data, directory)
        self._report(f"  validation AUC {reached:.4f}")
        model = load(directory)
        return time.perf_counter() - started, lambda: predict(model, self.data.test, self.data.n_items)

    def _fit_language_model(self, row: Row, config: CoLLMConfig, directory: Path) -> tuple[float, Callable[[], Floats]]:
        model = self._model(row, config, None)
        seconds = 0.0 if row == ICL else tune(config, self._inputs, model, directory, self._indented).seconds
        model.to(training_device())
        test = self._inputs.prompted(self.data.test, model)
        return seconds, lambda: scores_of(model, test, training_device())

    def _model(self, row: Row, config: CoLLMConfig, tuned: Path | None) -> CoLLM:
        if row.tuning is None:
            return text_model(config, self._inputs, tuned)
        cf = self._directory / f"cf/{row.cf}"
        return feature_model(config, self._inputs, cf, self._directory / TALLREC.stage, tuned)

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs.read(self._config, self.data)

    def _settings(self, row: Row) -> CoLLMConfig:
        config = self._config if row.cf is None else replace(self._config, cf=row.cf)
        return config if row.tuning is None else replace(config, tuning=row.tuning)

    def _needed(self, row: Row) -> list[Row]:
        if row.tuning is None:
            return []
        pretrained = [each for each in CF_ROWS if each.cf == row.cf and self._settings(row).pretrained]
        return pretrained if row.tuning == "T3" else [TALLREC, *pretrained]

    def _files(self, row: Row) -> dict[str, Path]:
        files = {f"data/{path.name}": path for path in sorted(self._data_directory.glob("*.parquet"))}
        return files if row in CF_ROWS else files | local_files("backbone", self._config.backbone)

    def _indented(self, line: str) -> None:
        self._report(f"  {line}")


def _recorded(row: Row, config: CoLLMConfig) -> dict[str, Any]:
    """The settings that a row's result depends on."""
    if row in CF_ROWS:
        return asdict(cf_config(config))
    settings = asdict(config)
    if row.tuning is None:
        return {key: value for key, value in settings.items() if key not in _SECOND_STEP}
    return settings | {"cf_config": asdict(cf_config(config))}
