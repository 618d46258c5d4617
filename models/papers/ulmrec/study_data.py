"""What all rows of a study of ULMRec are tuned and measured on: the same users, the same candidates."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.contract.types import Floats, Ints
from models.data.dataset import Dataset
from models.evaluation.metrics import NO_ITEM
from models.papers.ulmrec.data import Candidates
from models.papers.ulmrec.ratings import ratings_of
from models.papers.ulmrec.reranking import Asked, candidates_of, sampled
from models.papers.ulmrec.retriever import RetrieverName, RetrieverStages
from models.papers.ulmrec.study_config import ULMStudyConfig
from models.types import Examples, Report

SAMPLE_SEED = 0  # of the users that all rows share


class StudyData:
    """See the module.

    Args:
        directory: of the study; retrievers are trained where it lacks them.
        config: of the study.
        report: told one line a step.
    """

    def __init__(self, directory: Path, config: ULMStudyConfig, report: Report) -> None:
        self.stages = RetrieverStages(directory, config.data, config.retriever, config.sasrec, report)
        self._config = config

    @cached_property
    def dataset(self) -> Dataset:
        """The prepared data set."""
        return self.stages.dataset

    @cached_property
    def ratings(self) -> Floats | None:
        """See :class:`models.papers.ulmrec.data.RankingData`."""
        return ratings_of(self._config.data, self.dataset)

    @cached_property
    def test(self) -> Examples:
        """The test users of all rows."""
        return self._all_test.take(self._test_rows)

    @cached_property
    def found(self) -> Candidates:
        """Those of :attr:`test` whose target was retrieved, by row of :attr:`test`, and the candidates."""
        return candidates_of(self.lists(self._retriever), self.test.targets, self._config.ulmrec.candidates)

    @cached_property
    def asked(self) -> Asked:
        """What the rankers are asked: of the users :attr:`found`."""
        return Asked.of(self.test, self.found)

    @cached_property
    def valid(self) -> Candidates:
        """Validation users whose target was retrieved, as many as are looked at in tuning, and their candidates."""
        lists, targets = self.stages.retrieved(self._retriever).valid, self._all_valid.targets
        found = candidates_of(lists, targets, self._config.ulmrec.candidates)
        return sampled(found, self._config.ulmrec.valid_examples, SAMPLE_SEED)

    @cached_property
    def asked_valid(self) -> Asked:
        """What the rankers are asked of the users :attr:`valid`."""
        return Asked.of(self._all_valid, self.valid)

    @cached_property
    def negatives(self) -> Ints:
        """(n_users, r) what the retriever lists after each user's train part, less the validation target."""
        lists = self.stages.retrieved(self._retriever).valid[:, : self._config.study.retrieved_negatives]
        return negatives_of(lists, self._all_valid, len(self.dataset.user_ids))

    def lists(self, retriever: RetrieverName) -> Ints:
        """(n, m) what a retriever lists for the test users, as many as are candidates of a prompt."""
        return self.stages.retrieved(retriever).test[self._test_rows, : self._config.ulmrec.candidates]

    @property
    def _retriever(self) -> RetrieverName:
        return self._config.retriever.model

    @cached_property
    def _all_valid(self) -> Examples:
        return self.dataset.examples("valid")

    @cached_property
    def _all_test(self) -> Examples:
        return self.dataset.examples("test")

    @cached_property
    def _test_rows(self) -> NDArray[np.int64]:
        n, wanted = len(self._all_test), self._config.study.test_examples
        if wanted is None or wanted >= n:
            return np.arange(n)
        return np.sort(np.random.default_rng(SAMPLE_SEED).choice(n, wanted, replace=False)).astype(np.int64)


def negatives_of(lists: Ints, valid: Examples, n_users: int) -> Ints:
    """(n_users, r) by user, from the lists (n, r) of validation examples; -1 for their targets, and where none remain.

    A user's first validation example counts: its history is the train part.
    """
    negatives = np.full((n_users, lists.shape[1]), NO_ITEM, np.int32)
    users, first = np.unique(valid.users, return_index=True)
    kept = lists[first]
    negatives[users] = np.where(kept == valid.targets[first][:, None], NO_ITEM, kept)
    return negatives
