"""CoLLM over HTTP, by our engine and by stock vLLM, gives the lists of the offline half, for known users and strangers.

Real Redis, gateway and workers; a vLLM server takes some 40 seconds to start.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from support.runs import FinishedRun
from support.served_lists import N, item_ids, named, served, stack_of

from localrec.stack import Stack, WorkerKind
from models.contract.specs import CoLLMSpec
from models.export import bundled
from models.papers.collm.export import CoLLMScorer
from models.pipeline import Pipeline
from models.ranking.rerank import Reranker
from models.ranking.system import open_system

pytestmark = pytest.mark.redis

USERS = np.arange(12)


@pytest.fixture
def stack(further_run: FinishedRun, workers: WorkerKind, short_tmp) -> Iterator[Stack]:
    with stack_of(further_run.bundle, "collm", workers, short_tmp) as running:
        yield running


def test_ten_best_items_are_those_of_the_offline_scorer(stack: Stack, further_run: FinishedRun) -> None:
    dataset = Pipeline(further_run.directory, further_run.config).results.dataset()
    collm = bundled(further_run.bundle, "collm")
    assert isinstance(collm.spec, CoLLMSpec)
    scorer = CoLLMScorer(collm.directory, collm.spec.answer_token)
    reranker = Reranker(open_system(further_run.bundle), scorer.rate)
    test = dataset.examples("test").take(USERS)
    ids = [dataset.user_ids[user] for user in USERS]
    known = named(reranker.lists(dataset.full.take(USERS), ids, N), dataset.catalogue.ids)
    unnamed = named(reranker.lists(test.histories, [None] * len(USERS), N), dataset.catalogue.ids)
    assert None not in [scorer.prompts.user_row(user_id) for user_id in ids]
    assert known != unnamed
    for user in USERS.tolist():
        answer = served(stack.gateway_port, user_id=dataset.user_ids[user])
        assert answer["pipeline"] == "collm"
        assert {item["source"] for item in answer["items"]} == {"collm"}
        assert item_ids(answer) == known[user]
        history = [dataset.catalogue.ids[item] for item in test.histories[user]]
        answer = served(stack.gateway_port, user_id=f"unnamed {user}", history=history)
        assert item_ids(answer) == unnamed[user]
        assert answer["reasons"] == ["text_only:user"]
