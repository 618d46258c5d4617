"""The rows "HatLLM + L3Rec" of one seed of a study: local models over the study's HatLLM, see
:mod:`models.papers.hatllm.local`.

```
<directory>/communities   the global CF model, and the anchors
<directory>/c00 …         an adapter a community
<directory>/further       the adapter for everyone, trained as long as a community's, and its test rankings
<directory>/fused         fusions.json, the settings chosen on validation examples, and a file of test rankings a row
```
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.communities.anchors import CommunityConfig
from models.contract.bundle import community_adapter
from models.contract.selection import GLOBAL_VOTER
from models.contract.types import Floats
from models.evaluation.ranked import RankedRow, load_ranked, rank, save_ranked
from models.llm.backbone import Backbone
from models.papers.hatllm.data import WindowedData
from models.papers.hatllm.local import (
    Communities,
    LocalModels,
    best_of,
    find_communities,
    part_of,
    train_local,
    try_fusions,
)
from models.papers.hatllm.model import HatModel
from models.papers.hatllm.study_config import FURTHER, LOCAL_ROWS, HatStudyConfig, sampling_of
from models.papers.hatllm.training import load_hatllm, scores_of
from models.ranking.fusion_search import ServingConfig, in_words
from models.stage import file_name, run_stage
from models.training.device import training_device
from models.types import Report, chunks_of

VERSION = 1  # raise when a stage computes something else from the same inputs
SAMPLE_SEED = 0  # of the validation examples that fusions, and the CF model's training, look at
CF_VALID_EXAMPLES = 5000  # at most
_FUSIONS = "fusions.json"


class LocalStudy:
    """See the module.

    Args:
        directory: where everything is kept.
        config: of the study.
        seed: of the HatLLM, and of everything here.
        data: what the study is trained and measured on.
        sources: files or stages that the data are read from.
        hatllm: directory of the trained HatLLM.
        backbone: gives the language model's backbone when it is needed.
        report: told one line a step.
    """

    def __init__(
        self,
        directory: Path,
        config: HatStudyConfig,
        seed: int,
        data: WindowedData,
        sources: Mapping[str, Path],
        hatllm: Path,
        backbone: Callable[[], Backbone],
        report: Report,
    ) -> None:
        self.directory = directory
        self._config = config
        self._seed = seed
        self._data = data
        self._sources = dict(sources)
        self._hatllm = hatllm
        self._backbone = backbone
        self._report = report
        self._communities_config = CommunityConfig(
            n_communities=config.local.n_communities, bandwidth=config.local.bandwidth, seed=seed
        )

    def ranked(self, name: str) -> RankedRow:
        """What a row of ``LOCAL_ROWS``, or ``FURTHER``, answers to the test examples; made where it is not there."""
        return load_ranked((self._further() if name == FURTHER else self._fused()) / _file(name))

    def fusions(self) -> dict[str, str]:
        """The settings of every row of ``LOCAL_ROWS``, in words."""
        found: dict[str, str] = json.loads((self._fused() / _FUSIONS).read_text())
        return found

    def _communities(self) -> Path:
        multvae = replace(self._config.multvae, seed=self._seed)

        def work(directory: Path) -> None:
            valid = self._data.valid.sample(CF_VALID_EXAMPLES, SAMPLE_SEED)
            find_communities(self._data, valid, multvae, self._communities_config, directory, self._told)

        return self._stage("communities", [multvae, self._communities_config], {}, work)

    def _adapter(self, number: int) -> Path:
        communities = self._communities()

        def work(directory: Path) -> None:
            found = Communities.load(communities, self._communities_config)
            self._train(self._model(), *part_of(self._data, found, number), directory)

        inputs = {"communities": communities, "hatllm": self._hatllm}
        return self._stage(community_adapter(number), self._trained_with(), inputs, work)

    def _further(self) -> Path:
        def work(directory: Path) -> None:
            model, data = self._model(), self._data
            self._train(model, data, np.ones(len(data.train), np.float32), directory)
            score = scores_of(model, self._config.hatllm.history_length, training_device())
            parts = (data.test.take(rows) for rows in chunks_of(np.arange(len(data.test))))
            save_ranked([rank(score(part), part) for part in parts], directory / _file(FURTHER))

        return self._stage("further", self._trained_with(), {"hatllm": self._hatllm}, work)

    def _train(self, model: HatModel, data: WindowedData, weights: Floats, directory: Path) -> None:
        config = replace(self._config.hatllm, seed=self._seed)
        train_local(config, self._config.local, model, data, weights, directory, self._report)

    def _trained_with(self) -> list[object]:
        local = self._config.local
        return [self._config.hatllm, local.steps, local.evaluate_every, local.patience, local.learning_rate]

    def _fused(self) -> Path:
        names = [community_adapter(number) for number in range(self._config.local.n_communities)]
        adapters = {name: self._adapter(number) for number, name in enumerate(names)} | {GLOBAL_VOTER: self._hatllm}
        communities, hat = self._communities(), self._config.hatllm

        def work(directory: Path) -> None:
            found = Communities.load(communities, self._communities_config)
            candidates = ServingConfig().candidates
            self._fuse(LocalModels(self._model(), hat.history_length, found, adapters, candidates), directory)

        asked = [hat, self._config.local.fusion_examples]
        return self._stage("fused", asked, adapters | {"communities": communities}, work)

    def _fuse(self, models: LocalModels, directory: Path) -> None:
        """Choose each row's fusion on validation examples, and rank the test examples with it."""
        valid = self._data.valid.sample(self._config.local.fusion_examples, SAMPLE_SEED)
        tried = try_fusions(list(models.answered(valid)), self._config.hatllm.valid_cutoff or None)
        chosen = {name: best_of(tried, admits) for name, admits in LOCAL_ROWS.items()}
        parts: dict[str, list[RankedRow]] = {name: [] for name in chosen}
        for answered in models.answered(self._data.test):
            for name, settings in chosen.items():
                parts[name].append(rank(answered.fused(settings), answered.examples))
        for name, ranked in parts.items():
            save_ranked(ranked, directory / _file(name))
        words = {name: in_words(settings) for name, settings in chosen.items()}
        (directory / _FUSIONS).write_text(json.dumps(words, indent=2) + "\n")

    def _model(self) -> HatModel:
        """HatLLM with the adapter for everyone."""
        model = load_hatllm(self._config.hatllm, self._hatllm, self._backbone())
        return model.to(training_device())

    def _stage(
        self, name: str, settings: list[object], inputs: Mapping[str, Path], work: Callable[[Path], None]
    ) -> Path:
        directory = self.directory / name

        def told(target: Path) -> None:
            self._report(f"{self._config.name}: HatLLM + L3Rec, {name}, seed {self._seed}")
            work(target)

        run_stage(
            directory,
            name=name,
            version=VERSION,
            config=[self._seed, sampling_of(self._config), *settings],
            inputs={**self._sources, **inputs},
            work=told,
            resumable=True,
        )
        return directory

    def _told(self, epoch: int, ndcg: float) -> None:
        self._report(f"epoch {epoch}  validation NDCG@10 {ndcg:.4f}")


def _file(row: str) -> str:
    return f"{file_name(row)}.safetensors"
