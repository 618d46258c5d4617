"""A study of HatLLM on one data set: every row is trained, ranks the test examples, and is kept.

```
<directory>/data                  the prepared data set, where it does not come as windows
<directory>/text, text-backbone   whitened text vectors: of the head, and of the backbone's layers
<directory>/rows/<row>/seed-0 …   a trained row: its test rankings and, of a language model, its files
<directory>/local/seed-0 …        HatLLM's local models, see :mod:`models.papers.hatllm.local_study`
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
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors

from models.cf.popularity import PopularityScorer, recency_popularity
from models.cf.sasrec import train_sasrec
from models.contract.types import Floats
from models.data import prepare
from models.data.dataset import Dataset
from models.evaluation.ranked import RankedRow, load_ranked, ranked_by, save_ranked
from models.llm.backbone import layer_count, load_backbone
from models.llm.items import fit_whitening, item_states, item_text
from models.llm.training import forget
from models.papers.hatllm.config import check_layers
from models.papers.hatllm.data import WindowedData, read_windows
from models.papers.hatllm.local_study import LocalStudy
from models.papers.hatllm.study_config import (
    HATLLM,
    LLARA,
    POPULARITY,
    SASREC,
    SASREC_TEXT,
    STACKED,
    HatStudyConfig,
    RowSpec,
    rows_of,
    sampling_of,
    slug,
)
from models.papers.hatllm.training import DESCRIPTION, Prepared, Trained, fit_hatllm, scores_of, text_vectors
from models.stage import COST, file_name, run_stage
from models.training.device import training_device
from models.types import Report, Score, by_history

VERSION = 1  # raise when a row computes something else from the same inputs
SAMPLE_SEED = 0  # of the train windows and test examples that all rows share
VALID_EXAMPLES = 5000  # of the baselines, at most
_RANKED, _TEXT, _VECTORS = "ranked.safetensors", "text.safetensors", "vectors.safetensors"


class HatStudy:
    """See the module.

    Args:
        directory: where everything is kept.
        config: of the study.
        report: told one line a step.
    """

    def __init__(self, directory: Path, config: HatStudyConfig, report: Report) -> None:
        self.directory = directory
        self.config = config
        self._report = report

    @cached_property
    def rows(self) -> list[RowSpec]:
        """All rows of the study, in the tables' order. Raises ConfigError where the backbone lacks their layers."""
        check_layers(self.config.hatllm)
        return rows_of(self.config, self._depth)

    @cached_property
    def data(self) -> WindowedData:
        """The data, cut to the windows and test examples that the study takes."""
        study, size = self.config.study, self.config.hatllm.history_length + 1
        return self._whole().sampled(study.train_windows, size, study.test_examples, SAMPLE_SEED)

    def ranked(self, row: RowSpec, seed: int) -> RankedRow:
        """What a row answers to the test examples; trained where the study lacks it."""
        if row.group == "local":
            return self._local(seed).ranked(row.name)

        def work(target: Path) -> None:
            self._report(f"{self.config.name}: {row.name}, seed {seed}")
            started = time.perf_counter()
            score = self._trained(row, seed, target)
            trained = time.perf_counter()
            save_ranked(ranked_by(score, self.data.test), target / _RANKED)
            forget(target)
            seconds = {"training_seconds": trained - started, "ranking_seconds": time.perf_counter() - trained}
            (target / COST).write_bytes(msgspec.json.encode(seconds))

        directory, inputs = self._directory(row, seed), self._inputs(row, seed)
        settings = {
            "seed": seed,
            "study": sampling_of(self.config),
            "window": self._window(row),
            "row": self._settings(row),
        }
        run_stage(
            directory,
            name=directory.parent.name,
            version=VERSION,
            config=settings,
            inputs=inputs,
            work=work,
            resumable=True,
        )
        return load_ranked(directory / _RANKED)

    def fusion_of(self, row: RowSpec, seed: int) -> str:
        """The settings that a row of local models is fused with, in words."""
        return self._local(seed).fusions()[row.name]

    def training_of(self, row: RowSpec, seed: int) -> Trained:
        """How the training of a finished language model's row went."""
        return msgspec.json.decode((self._directory(row, seed) / DESCRIPTION).read_bytes(), type=Trained)

    def _local(self, seed: int) -> LocalStudy:
        """The local models of a seed's HatLLM, which is trained where the study lacks it."""
        row = RowSpec(HATLLM, "main", self.config.hatllm)
        self.ranked(row, seed)
        return LocalStudy(
            self.directory / "local" / f"seed-{seed}",
            self.config,
            seed,
            self.data,
            self._sources,
            self._directory(row, seed),
            lambda: self._prepared.backbone,
            self._report,
        )

    def _trained(self, row: RowSpec, seed: int, directory: Path) -> Score:
        if row.model is not None:
            vectors = load_file(self._sasrec(seed) / _VECTORS)["vectors"] if row.name == LLARA else None
            config = replace(row.model, seed=seed)
            model, _ = fit_hatllm(config, self.data, directory, self._report, self._prepared, vectors)
            return scores_of(model, config.history_length, training_device())
        return self._popularity() if row.name == POPULARITY else self._train_sasrec(row, seed, directory)

    def _popularity(self) -> Score:
        data, half_life = self.data, self.config.popularity.half_life_days
        counts = recency_popularity(data.train.items, data.train_timestamps, len(data.catalogue), half_life)
        return by_history(PopularityScorer(counts))

    def _train_sasrec(self, row: RowSpec, seed: int, directory: Path) -> Score:
        data, text = self.data, self._text_of(row)
        valid = data.valid.sample(VALID_EXAMPLES, SAMPLE_SEED)
        config = replace(self.config.sasrec, seed=seed)
        scorer = train_sasrec(data.train, valid, len(data.catalogue), config, self._told, item_text=text)
        network: Any = scorer.network
        with torch.no_grad():
            vectors = network.table()[: network.n_items].cpu().numpy()
        save_file({"vectors": np.ascontiguousarray(vectors)}, directory / _VECTORS)
        return by_history(scorer)

    def _text_of(self, row: RowSpec) -> Floats | None:
        """What SASRec reads of the items' texts: nothing, the head's vectors, or the backbone's."""
        if row.name == SASREC:
            return None
        text: Floats = load_file((self._text if row.name == SASREC_TEXT else self._backbone_text) / _TEXT)["text"]
        return text

    def _told(self, epoch: int, ndcg: float) -> None:
        self._report(f"epoch {epoch}  validation NDCG@10 {ndcg:.4f}")

    @cached_property
    def _prepared(self) -> Prepared:
        text = load_tensors(self._text / _TEXT)["text"]
        return Prepared(load_backbone(self.config.hatllm.backbone), text)

    @cached_property
    def _text(self) -> Path:
        """The text vectors that the heads, and SASRec with text, start from."""
        hat = self.config.hatllm
        settings = [hat.text_encoder, hat.backbone, hat.text_layers, hat.text_size, hat.text_tokens]
        return self._vectors_stage("text", settings, lambda: text_vectors(hat, self.data.catalogue))

    @cached_property
    def _backbone_text(self) -> Path:
        """What the backbone's layers below the CR layers, untrained, make of the items' texts: reduced by whitening."""
        hat, depth = self.config.hatllm, self._depth - self.config.hatllm.cross_layers

        def vectors() -> torch.Tensor:
            texts = [item_text(item) for item in self.data.catalogue.items]
            states = item_states(load_backbone(hat.backbone), texts, depth, hat.text_tokens)
            return fit_whitening(states, hat.text_size)(states)

        settings = [hat.backbone, depth, hat.text_size, hat.text_tokens]
        return self._vectors_stage("text-backbone", settings, vectors)

    def _vectors_stage(self, name: str, settings: list[Any], vectors: Callable[[], torch.Tensor]) -> Path:
        def work(directory: Path) -> None:
            self._report(f"{self.config.name}: {name}")
            save_file({"text": vectors().contiguous().numpy()}, directory / _TEXT)

        directory = self.directory / name
        run_stage(directory, name=name, version=VERSION, config=settings, inputs=self._sources, work=work)
        return directory

    @cached_property
    def _sources(self) -> dict[str, Path]:
        """The files, or the stage, that the data are read from."""
        study = self.config.study
        if study.windows:
            return {"windows": Path(study.windows), "items": Path(study.items)}
        directory = self.directory / "data"
        prepare.run(self.config.data, directory)
        return {"data": directory}

    def _whole(self) -> WindowedData:
        study = self.config.study
        if study.windows:
            return read_windows(Path(study.windows), Path(study.items), study.valid_share)
        return WindowedData.of(Dataset.load(self._sources["data"]))

    def _inputs(self, row: RowSpec, seed: int) -> dict[str, Path]:
        read = dict(self._sources)
        if row.model is not None or row.name == SASREC_TEXT:
            read["text"] = self._text
        if row.name == LLARA:
            self.ranked(RowSpec(SASREC, "main"), seed)
            read["sasrec"] = self._sasrec(seed)
        if row.name == STACKED:
            read["text"] = self._backbone_text
        return read

    def _settings(self, row: RowSpec) -> Any:
        if row.model is not None:
            return replace(row.model, seed=0)
        return self.config.popularity if row.name == POPULARITY else self.config.sasrec

    def _window(self, row: RowSpec) -> int | None:
        """Size of the sampled windows, where the row's own settings do not say it: for a baseline."""
        sampled = self.config.study.train_windows is not None
        return 1 + self.config.hatllm.history_length if sampled and row.model is None else None

    def _sasrec(self, seed: int) -> Path:
        return self._directory(RowSpec(SASREC, "main"), seed)

    def _directory(self, row: RowSpec, seed: int) -> Path:
        masks = slug(row.model) if row.model is not None and row.name != LLARA else None
        return self.directory / "rows" / (masks or file_name(row.name)) / f"seed-{seed}"

    @property
    def _depth(self) -> int:
        hat = self.config.hatllm
        return layer_count(hat.backbone) if hat.layers is None else hat.layers
