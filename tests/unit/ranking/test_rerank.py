"""CoLLM's pipeline offline: candidates of the CF model, ranked anew, in front of what is left of them."""

import numpy as np
import pytest
from support.runs import FinishedRun

from models.contract.types import Floats, Ints, by_score
from models.evaluation.metrics import NO_ITEM
from models.pipeline import Pipeline
from models.ranking.recommend import cf_list
from models.ranking.rerank import Reranker
from models.ranking.system import LocalSystem
from models.types import Sequences

CANDIDATES = 4


@pytest.fixture
def system(finished_run: FinishedRun) -> LocalSystem:
    return Pipeline(finished_run.directory, finished_run.config, lambda line: None).results.system()


def backwards(history: Ints, candidates: Ints, user: str | None) -> Floats:
    """The last candidate is the best."""
    return np.arange(len(candidates), dtype=np.float32)


def test_candidates_come_first_in_the_models_order_then_the_rest_in_the_cf_models(system: LocalSystem) -> None:
    history = np.asarray([3, 4, 5], np.int32)
    lists = Reranker(system, backwards, CANDIDATES).lists(Sequences.of([history]), [None], 8)

    (profile,) = system.profiles(Sequences.of([history]))
    found = cf_list(system, profile, 8, history, None).items
    assert lists.tolist() == [[*found[:CANDIDATES][::-1], *found[CANDIDATES:]]]


def test_the_model_is_told_whose_history_and_which_candidates(system: LocalSystem) -> None:
    asked = []

    def rate(history: Ints, candidates: Ints, user: str | None) -> Floats:
        asked.append((history.tolist(), len(candidates), user))
        return backwards(history, candidates, user)

    histories = Sequences.of([np.asarray([1], np.int32), np.asarray([2, 0], np.int32)])
    Reranker(system, rate, CANDIDATES).lists(histories, ["u7", None], 3)
    assert asked == [([1], CANDIDATES, "u7"), ([2, 0], CANDIDATES, None)]


def test_only_what_is_allowed_is_listed(system: LocalSystem) -> None:
    allowed = np.asarray([[0, 9, 11]], np.int32)
    lists = Reranker(system, backwards).lists(Sequences.of([np.asarray([9], np.int32)]), [None], 4, allowed)
    assert sorted(lists[0].tolist()) == [NO_ITEM, NO_ITEM, 0, 11]


def test_without_a_history_the_popular_items_are_listed_and_nobody_is_asked(system: LocalSystem) -> None:
    def rate(*_: object) -> Floats:
        raise AssertionError("nobody is to be asked")

    lists = Reranker(system, rate).lists(Sequences.of([np.empty(0, np.int32)]), [None], 3)
    assert lists[0].tolist() == np.argsort(-system.popularity, kind="stable")[:3].tolist()


def test_equal_scores_are_in_the_order_of_item_numbers() -> None:
    ranking = by_score(np.asarray([8, 2, 5], np.int32), np.asarray([1.0, 1.0, 2.0], np.float32))
    assert ranking.items.tolist() == [5, 2, 8]
    assert ranking.scores.tolist() == [2.0, 1.0, 1.0]
