"""A study of L2Rec on one data set: every row is trained, ranks the test examples, and is kept.

```
<directory>/data                    the prepared data set
<directory>/text, text-backbone     whitened text vectors: of UniSRec, and of LEARN
<directory>/cf/1/seed-0, 0.1/… …    MultVAE trained on a share of the users: it tells L2Rec who a user is
<directory>/rows/<row>/seed-0 …     a trained row: its test rankings, what is told of it and, of L2Rec, its files
```
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load_file, save_file
from torch import Tensor

from models.cf.multvae import MultVAEScorer, train_multvae
from models.cf.sasrec import train_sasrec
from models.cf.unisrec import train_unisrec
from models.contract.bundle import CF_MODEL
from models.contract.cf import CFModel
from models.contract.types import Floats
from models.data import prepare
from models.data.dataset import Dataset
from models.evaluation.ranked import RankedRow, load_ranked, ranked_by, save_ranked
from models.llm.backbone import layer_count, load_backbone
from models.llm.items import fit_whitening, item_states, item_text, sentence_states
from models.llm.source import local_files
from models.llm.training import forget
from models.papers.l2rec.config import check_layers, depth_of
from models.papers.l2rec.data import L2RecData
from models.papers.l2rec.limited import with_share
from models.papers.l2rec.study_config import (
    LEARN,
    MULTVAE,
    SASREC,
    UNADAPTED,
    UNISREC,
    L2StudyConfig,
    RowSpec,
    from_scratch,
    rows_of,
)
from models.papers.l2rec.study_models import Facts, trained_model, unadapted_model
from models.stage import COST, file_name, run_stage
from models.types import Examples, Report, Score, by_history

VERSION = 1  # raise when a row computes something else from the same inputs
SAMPLE_SEED = 0  # of the test and validation examples that all rows share
_RANKED, _FACTS, _TEXT = "ranked.safetensors", "facts.json", "text.safetensors"


class L2Study:
    """See the module.

    Args:
        directory: where everything is kept.
        config: of the study.
        report: told one line a step.
    """

    def __init__(self, directory: Path, config: L2StudyConfig, report: Report) -> None:
        self.directory = directory
        self.config = config
        self._report = report

    @cached_property
    def rows(self) -> list[RowSpec]:
        """All rows of the study, in the tables' order. Raises ConfigError where the backbone lacks layers."""
        check_layers(self.config.l2rec)
        return rows_of(self.config)

    @cached_property
    def dataset(self) -> Dataset:
        """The prepared data set."""
        return Dataset.load(self._data)

    @cached_property
    def test(self) -> Examples:
        """The test examples that all rows are measured on."""
        examples, wanted = self.dataset.examples("test"), self.config.study.test_examples
        return examples if wanted is None else examples.sample(wanted, SAMPLE_SEED)

    def ranked(self, row: RowSpec, seed: int) -> RankedRow:
        """What a row answers to the test examples; trained where the study lacks it."""

        def work(target: Path) -> None:
            self._report(f"{self.config.name}: {row.name}, seed {seed}")
            started = time.perf_counter()
            score, facts = self._trained(row, seed, target)
            trained = time.perf_counter()
            save_ranked(ranked_by(score, self.test), target / _RANKED)
            forget(target)
            (target / _FACTS).write_bytes(msgspec.json.format(msgspec.json.encode(facts)))
            seconds = {"training_seconds": trained - started, "ranking_seconds": time.perf_counter() - trained}
            (target / COST).write_bytes(msgspec.json.encode(seconds))

        directory = self._directory(row, seed)
        inputs = self._inputs(row, seed)
        settings = {
            "seed": seed,
            "share": row.share,
            "examples": [self.config.study.valid_examples, self.config.study.test_examples],
            "row": self._settings(row),
        }
        name = str(directory.relative_to(self.directory))
        run_stage(directory, name=name, version=VERSION, config=settings, inputs=inputs, work=work, resumable=True)
        return load_ranked(directory / _RANKED)

    def facts(self, row: RowSpec, seed: int) -> Facts:
        """What is told of a finished row."""
        return msgspec.json.decode((self._directory(row, seed) / _FACTS).read_bytes(), type=Facts)

    def training_seconds(self, row: RowSpec, seed: int) -> float:
        """What a finished row's training took, without the CF model's and the text vectors'."""
        cost = msgspec.json.decode((self._directory(row, seed) / COST).read_bytes(), type=dict[str, float])
        return cost["training_seconds"]

    def _trained(self, row: RowSpec, seed: int, directory: Path) -> tuple[Score, Facts]:
        if row.config is not None:
            data = L2RecData(with_share(self.dataset, row.share), self._cf_model(row, seed))
            return trained_model(replace(row.config, seed=seed), data, directory, self._report)
        if row.model == UNADAPTED:
            return unadapted_model(self.config.l2rec, L2RecData(self.dataset, self._cf_model(row, seed)))
        if row.model == MULTVAE:
            return by_history(MultVAEScorer(self._cf_model(row, seed))), Facts()
        return self._baseline(row, seed)

    def _baseline(self, row: RowSpec, seed: int) -> tuple[Score, Facts]:
        dataset, looks = with_share(self.dataset, row.share), [0.0]

        def told(epoch: int, value: float) -> None:
            looks.append(value)
            self._report(f"epoch {epoch}  validation NDCG@10 {value:.4f}")

        if row.model == SASREC:
            config = replace(self.config.sasrec, seed=seed)
            scorer = train_sasrec(dataset.train, self._valid, len(dataset.catalogue), config, told)
        else:
            settings = replace(self.config.unisrec if row.model == UNISREC else self.config.learn, seed=seed)
            scorer = train_unisrec(dataset.train, self._valid, self._text_of(row), settings, told)
        parameters = sum(p.numel() for p in scorer.network.parameters() if p.requires_grad)
        return by_history(scorer), Facts(parameters, max(looks))

    @cached_property
    def _valid(self) -> Examples:
        return self.dataset.examples("valid").sample(self.config.study.valid_examples, SAMPLE_SEED)

    @cached_property
    def _data(self) -> Path:
        directory = self.directory / "data"
        prepare.run(self.config.data, directory)
        return directory

    def _cf_model(self, row: RowSpec, seed: int) -> CFModel:
        return CFModel.load(self._cf(row.share, seed) / CF_MODEL)

    def _cf(self, share: float, seed: int) -> Path:
        """The stage of MultVAE trained on a share of the users."""
        config = replace(self.config.cf, seed=seed)

        def work(directory: Path) -> None:
            self._report(f"{self.config.name}: MultVAE on {share:.4g} of the users, seed {seed}")
            dataset = with_share(self.dataset, share)
            model = train_multvae(dataset.train, self._valid, len(dataset.catalogue), config)
            model.save(directory / CF_MODEL)

        directory = self.directory / "cf" / f"{share:.4g}" / f"seed-{seed}"
        settings = [config, share, self.config.study.valid_examples]
        run_stage(directory, name="cf", version=VERSION, config=settings, inputs={"data": self._data}, work=work)
        return directory

    def _text_of(self, row: RowSpec) -> Floats:
        text: Floats = load_file(self._text_stage(row) / _TEXT)["text"]
        return text

    def _text_stage(self, row: RowSpec) -> Path:
        return self._backbone_text if row.model == LEARN else self._encoder_text

    @cached_property
    def _encoder_text(self) -> Path:
        """What UniSRec reads of the items' texts."""
        study = self.config.study

        def states(texts: list[str]) -> Tensor:
            return sentence_states(study.text_encoder, texts, study.text_tokens)

        return self._vectors("text", study.text_encoder, [study.text_encoder], states)

    @cached_property
    def _backbone_text(self) -> Path:
        """What LEARN reads of them: the states of L2Rec's backbone, frozen, after the same layers."""
        l2rec, study = self.config.l2rec, self.config.study
        depth = depth_of(l2rec, layer_count(l2rec.backbone))

        def states(texts: list[str]) -> Tensor:
            return item_states(load_backbone(l2rec.backbone), texts, depth, study.text_tokens)

        return self._vectors("text-backbone", l2rec.backbone, [l2rec.backbone, depth], states)

    def _vectors(self, name: str, source: str, settings: list[Any], states: Callable[[list[str]], Tensor]) -> Path:
        study = self.config.study

        def work(directory: Path) -> None:
            self._report(f"{self.config.name}: {name}")
            found = states([item_text(item) for item in self.dataset.catalogue.items])
            whitened: Tensor = fit_whitening(found, study.text_size)(found)
            save_file({"text": np.ascontiguousarray(whitened.numpy(), np.float32)}, directory / _TEXT)

        directory = self.directory / name
        inputs = {"data": self._data} | local_files("model", source)
        config = [*settings, study.text_size, study.text_tokens]
        run_stage(directory, name=name, version=VERSION, config=config, inputs=inputs, work=work)
        return directory

    def _inputs(self, row: RowSpec, seed: int) -> dict[str, Path]:
        if row.model == SASREC:
            return {"data": self._data}
        if row.model in (UNISREC, LEARN):
            return {"data": self._data, "text": self._text_stage(row)}
        read = {"data": self._data, "cf": self._cf(row.share, seed)}
        if row.model == MULTVAE:
            return read
        read |= local_files("backbone", self.config.l2rec.backbone)
        return read | local_files("initial", row.config.initial if row.config else "")

    def _settings(self, row: RowSpec) -> Any:
        if row.config is not None:
            return replace(row.config, seed=0)
        of_baseline = {
            MULTVAE: None,
            SASREC: self.config.sasrec,
            UNISREC: self.config.unisrec,
            LEARN: self.config.learn,
        }
        return of_baseline[row.model] if row.model in of_baseline else replace(from_scratch(self.config.l2rec), seed=0)

    def _directory(self, row: RowSpec, seed: int) -> Path:
        share = "" if row.share == 1 else f"-{row.share:.4g}"
        return self.directory / "rows" / f"{file_name(row.model)}{share}" / f"seed-{seed}"
