"""A study of ULMRec on one data set: every row is tuned, scores the test users' candidates, and is kept.

```
<directory>/data, text, retrievers/<name>   see :class:`models.papers.ulmrec.retriever.RetrieverStages`
<directory>/index/<texts>                   the users' indices that a text encoder's vectors give
<directory>/rows/<model>/seed-0 …           a language model, and its scores of validation and test candidates
```

Rows of the same language model share its directory: "ULMRec" is "P-ID w/ align", and is asked without histories, too.
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load_file, save_file

from models.contract.errors import ConfigError
from models.contract.types import Array, Floats
from models.evaluation.metrics import Ranks
from models.llm.backbone import Backbone, load_backbone
from models.llm.source import local_files
from models.papers.ulmrec.config import Task, ULMRecConfig, check_models
from models.papers.ulmrec.data import RankingData
from models.papers.ulmrec.index import UserIndex, build_index, published_indices
from models.papers.ulmrec.model import ULMRec
from models.papers.ulmrec.prompt_tokens import PromptTokens, prompt_tokens, prompts_of
from models.papers.ulmrec.reranking import (
    best_weight,
    by_chance,
    everybodys,
    metrics_of,
    others,
    with_retriever,
    without_history,
)
from models.papers.ulmrec.retriever import RETRIEVERS, places
from models.papers.ulmrec.similarity import PrefixSimilarity, prefix_similarity
from models.papers.ulmrec.study_config import (
    CHANCE,
    INDEX_ONLY,
    LLAMAREC_VOTED,
    OTHERS_INDEX,
    ULMREC_VOTED,
    Index,
    RowSpec,
    ULMStudyConfig,
    rows_of,
    slug,
    without,
)
from models.papers.ulmrec.study_data import SAMPLE_SEED, StudyData
from models.papers.ulmrec.texts import preferences
from models.papers.ulmrec.tuning import fit_ulmrec
from models.stage import COST, RECORD, holds, run_stage
from models.types import Report, Sequences

VERSION = 1  # raise when a row computes something else from the same inputs
_PREFERRING: tuple[Task, ...] = ("rating", "intent")  # since version 2 they tell nothing of their targets
_SCORES, _TOKENS = "scores.safetensors", "tokens.json"
_VOTED = (LLAMAREC_VOTED, ULMREC_VOTED)
_SHOWN: dict[str, str] = {INDEX_ONLY: "index-only", OTHERS_INDEX: "others-index"}  # scores of rows that have their own


class ULMStudy:
    """See the module.

    Args:
        directory: where everything is kept.
        config: of the study.
        report: told one line a step.
    """

    def __init__(self, directory: Path, config: ULMStudyConfig, report: Report) -> None:
        self.directory = directory
        self.config = config
        self._report = report
        self.data = StudyData(directory, config, report)
        self._indices: dict[Path, UserIndex] = {}
        self._read: dict[Path, dict[str, Floats]] = {}

    @cached_property
    def rows(self) -> list[RowSpec]:
        """All rows, in the tables' order. Raises ConfigError where their models, or tables of users, are not there."""
        check_models(self.config.ulmrec)
        for key, table in (
            ("study.users", self.config.study.users),
            ("ulmrec.user_texts", self.config.ulmrec.user_texts),
        ):
            if table and not Path(table).is_file():
                raise ConfigError(f"{key}: {table} is not a file")
        return rows_of(self.config, self.missing)

    @cached_property
    def missing(self) -> frozenset[Task]:
        """Tasks whose data the data set does not have."""
        return frozenset(("rating",)) if self.data.ratings is None else frozenset()

    def values(self, row: RowSpec, seed: int) -> dict[str, Ranks]:
        """Every metric of each of the test users (n,); of those whose target was not retrieved 0, but for a retriever.

        What the row lacks is tuned and scored.
        """
        if row.name in RETRIEVERS:
            return metrics_of(places(self.data.lists(row.name), self.data.test.targets))
        rows, n = self.data.found.rows, len(self.data.test)
        if row.name == CHANCE:
            return {name: everybodys(of, rows, n, 0.0) for name, of in by_chance(self.data.asked.items).items()}
        ranks = self.data.asked.ranks(self._scores(row, seed))
        return metrics_of(everybodys(ranks, rows, n, np.inf))

    def finished(self, row: RowSpec, seed: int) -> bool:
        """Whether a row's values can be had without tuning."""
        if row.model is None:
            return True
        directory = self.model_directory(row, seed)
        return directory in self._read or ((directory / RECORD).exists() and holds(directory, **self._stage(row, seed)))

    def model_directory(self, row: RowSpec, seed: int) -> Path:
        """The stage of the language model that a row is read from."""
        return self.directory / "rows" / slug(row) / f"seed-{seed}"

    def weight_of(self, row: RowSpec, seed: int) -> float:
        """Of the retriever's vote in a finished row, chosen on validation candidates."""
        return best_weight(self._kept(row, seed)["valid"], self.data.asked_valid)

    def tokens_of(self, row: RowSpec, seed: int) -> PromptTokens:
        """Of the test prompts of a finished row's language model."""
        path = self.model_directory(row, seed) / _TOKENS
        return msgspec.json.decode(path.read_bytes(), type=PromptTokens)

    def valid_ndcg(self, row: RowSpec, seed: int) -> float:
        """NDCG@10 within the candidates of validation, of a finished row's language model."""
        ranks = self.data.asked_valid.ranks(self._kept(row, seed)["valid"])
        return float(metrics_of(ranks)["N@10"].mean())

    def seconds_of(self, row: RowSpec, seed: int) -> dict[str, float]:
        """What tuning and scoring took, of a finished row's language model."""
        found: dict[str, float] = msgspec.json.decode((self.model_directory(row, seed) / COST).read_bytes())
        return found

    def sources(self, rows: Iterable[RowSpec]) -> dict[str, str]:
        """In words: what the users of some rows are known by; nothing where none of them has an index of tokens."""
        indexed = [row for row in rows if row.index == "built"]
        if not indexed:
            return {}
        model = _model(indexed[0])
        source = preferences(model, self.data.dataset).source
        return {"preferences": source, "index": str(self._index(model).description)}

    def similarities(self, rows: Iterable[RowSpec]) -> dict[str, tuple[PrefixSimilarity, ...]]:
        """How alike users are whose indices begin alike, by row, of the rows whose users have an index of tokens.

        What users are like is the mean of the vectors of the titles that they have met, whatever the index is made of.
        """
        first: dict[tuple[Index, str], RowSpec] = {}
        for row in rows:
            if row.index != "none":
                first.setdefault((row.index, _model(row).user_texts), row)
        found = {}
        for row in first.values():
            index = self._index_of(row)
            vectors = mean_vectors(index.indexer.item_vectors, self.data.dataset.train)
            found[row.name] = prefix_similarity(index.indices, vectors, self.data.dataset.train, SAMPLE_SEED)
        return found

    def _scores(self, row: RowSpec, seed: int) -> Floats:
        """(k, m) of the test users' candidates."""
        kept = self._kept(row, seed)
        if row.name in _VOTED:
            return with_retriever(kept["test"], self.weight_of(row, seed))
        return kept[_SHOWN.get(row.name, "test")]

    def _kept(self, row: RowSpec, seed: int) -> dict[str, Floats]:
        """All scores of a row's language model, which is tuned where it is not there; looked for once."""
        directory = self.model_directory(row, seed)
        if directory not in self._read:
            stage = self._stage(row, seed)
            run_stage(directory, **stage, work=lambda target: self._work(row, seed, target), resumable=True)
            self._read[directory] = load_file(directory / _SCORES)
        return self._read[directory]

    def _stage(self, row: RowSpec, seed: int) -> dict[str, Any]:
        """What a language model is known by, see :func:`models.stage.run_stage`."""
        study, model = self.config.study, _model(row)
        retriever = self.config.retriever.model
        inputs = {"data": self.data.stages.data, "retriever": self.data.stages.directory(retriever)}
        inputs |= local_files("backbone", model.backbone) | local_files("user_texts", model.user_texts)
        if row.index != "none":
            self._index(model)
            inputs["index"] = self._index_directory(model)
        if row.index == "published":
            inputs["users"] = Path(study.users)
        negatives = study.retrieved_negatives if model.negatives == "retrieved" else None
        settings = [seed, study.test_examples, study.counted_examples, negatives, replace(model, seed=0)]
        version = VERSION + (without(model, *_PREFERRING) != model)
        return {"name": slug(row), "version": version, "config": settings, "inputs": inputs}

    def _work(self, row: RowSpec, seed: int, directory: Path) -> None:
        self._report(f"{self.config.name}: {row.name}, seed {seed}")
        started = time.perf_counter()
        config = replace(_model(row), seed=seed)
        model = fit_ulmrec(config, self._ranking_data(row), directory, self._report, self._backbone)
        tuned = time.perf_counter()
        save_file(self._scored(row, model), directory / _SCORES)
        seconds = {"training_seconds": tuned - started, "scoring_seconds": time.perf_counter() - tuned}
        (directory / COST).write_bytes(msgspec.json.encode(seconds))
        counted = self.data.asked.first(self.config.study.counted_examples)
        (directory / _TOKENS).write_bytes(msgspec.json.encode(prompt_tokens(prompts_of(model, counted))))

    def _scored(self, row: RowSpec, model: ULMRec) -> dict[str, Floats]:
        """Scores of validation and test candidates; with an index of tokens and all tasks, without histories, too."""
        valid, test = self.data.asked_valid, self.data.asked
        users, nothing = test.examples.users, without_history(test.examples)
        scores = {
            "valid": model.letter_scores(valid.examples.histories, valid.items, valid.examples.users),
            "test": model.letter_scores(test.examples.histories, test.items, users),
        }
        if slug(row) in {slug(each) for each in self.rows if each.name == INDEX_ONLY}:
            scores["index-only"] = model.letter_scores(nothing, test.items, users)
            scores["others-index"] = model.letter_scores(nothing, test.items, others(users, SAMPLE_SEED))
        return scores

    def _ranking_data(self, row: RowSpec) -> RankingData:
        model = _model(row)
        return RankingData(
            dataset=self.data.dataset,
            index=None if row.index == "none" else self._index_of(row),
            preferences=preferences(model, self.data.dataset),
            valid=self.data.valid,
            retrieved=self.data.negatives if model.negatives == "retrieved" else None,
            ratings=self.data.ratings,
        )

    def _index_of(self, row: RowSpec) -> UserIndex:
        index = self._index(_model(row))
        if row.index == "built":
            return index
        path = Path(self.config.study.users)
        return replace(index, indices=published_indices(path, self.data.dataset, self.config.ulmrec.index_codes))

    def _index(self, model: ULMRecConfig) -> UserIndex:
        """The index that is built of the users' texts; the same for all seeds."""
        directory = self._index_directory(model)
        if directory not in self._indices:
            config = replace(model, seed=self.config.ulmrec.seed)
            self._indices[directory] = build_index(config, self.data.dataset, directory, self._report)
        return self._indices[directory]

    @cached_property
    def _backbone(self) -> Backbone:
        """Read once for all rows, each of which copies its layers."""
        return load_backbone(self.config.ulmrec.backbone)

    def _index_directory(self, model: ULMRecConfig) -> Path:
        return self.directory / "index" / ("texts" if model.user_texts else "titles")


def mean_vectors(item_vectors: Array, histories: Sequences) -> Floats:
    """(n, d) mean of the vectors (n_items, d) of each history's items, zero for an empty one."""
    table = item_vectors.astype(np.float32)
    nothing = np.zeros((1, table.shape[1]), np.float32)
    rows = [table[histories[row]] if len(histories[row]) else nothing for row in range(len(histories))]
    return np.stack([row.mean(axis=0) for row in rows])


def _model(row: RowSpec) -> ULMRecConfig:
    if row.model is None:
        raise ValueError(f"{row.name!r} has no language model")
    return row.model
