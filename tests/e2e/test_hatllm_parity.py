"""HatLLM over HTTP, by our engine and by vLLM with our plugin, gives the lists of the offline half.

Real Redis, gateway and workers; a vLLM server takes some 40 seconds to start.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from support.runs import FinishedRun
from support.served_lists import N, item_ids, named, served, stack_of

from localrec.stack import Stack, WorkerKind
from models.contract.types import Ints
from models.evaluation.metrics import rank_scores
from models.papers.hatllm.scoring import HatScorer
from models.pipeline import Pipeline
from models.types import Sequences

pytestmark = pytest.mark.redis

USERS = np.arange(12)


@pytest.fixture
def stack(further_run: FinishedRun, workers: WorkerKind, short_tmp) -> Iterator[Stack]:
    with stack_of(further_run.bundle, "hatllm", workers, short_tmp) as running:
        yield running


def test_ten_best_items_are_those_of_the_offline_scorer(stack: Stack, further_run: FinishedRun) -> None:
    dataset = Pipeline(further_run.directory, further_run.config).results.dataset()
    scorer = HatScorer.load(further_run.bundle.served("hatllm").directory)

    def ranked(histories: Sequences) -> Ints:
        return rank_scores(scorer.scores(histories), histories, N)

    test = dataset.examples("test").take(USERS)
    known = named(ranked(dataset.full.take(USERS)), dataset.catalogue.ids)
    unnamed = named(ranked(test.histories), dataset.catalogue.ids)
    for user in USERS.tolist():
        answer = served(stack.gateway_port, user_id=dataset.user_ids[user])
        assert answer["pipeline"] == "hatllm"
        assert {item["source"] for item in answer["items"]} == {"hatllm"}
        assert item_ids(answer) == known[user]
        history = [dataset.catalogue.ids[item] for item in test.histories[user]]
        assert item_ids(served(stack.gateway_port, user_id=f"unnamed {user}", history=history)) == unnamed[user]
