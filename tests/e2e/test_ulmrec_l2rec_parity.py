"""ULMRec over HTTP, by our engine and by stock vLLM, and L2Rec, by our engine, give the lists of the offline half.

Real Redis, gateway and workers; a vLLM server takes some 40 seconds to start.
"""

from dataclasses import replace

import numpy as np
import pytest
from support.backbones import write_backbone
from support.l2rec import small_l2rec
from support.runs import FinishedRun, run_config
from support.served_lists import N, item_ids, named, served, stack_of
from support.ulmrec import tiny_ulmrec, write_ranker

from localrec.stack import Stack, WorkerKind
from models.contract.types import Ints
from models.data.dataset import Dataset
from models.evaluation.metrics import rank_scores
from models.papers.l2rec.scoring import L2RecScorer
from models.papers.ulmrec.export import ULMRecScorer
from models.pipeline import Pipeline
from models.ranking.rerank import Reranker
from models.ranking.system import open_system
from models.types import Sequences

pytestmark = pytest.mark.redis

USERS = np.arange(12)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A whole tiny run with both models."""
    root = tmp_path_factory.mktemp("users-models")
    config, ranker = run_config(root, write_backbone(root / "backbone")), write_ranker(root / "ranker")
    config = replace(config, ulmrec=tiny_ulmrec(ranker), l2rec=small_l2rec(ranker))
    reports: list[str] = []
    bundle = Pipeline(root / "run", config, reports.append).run()
    return FinishedRun(root / "run", config, tuple(reports), bundle)


@pytest.fixture(scope="module")
def dataset(run: FinishedRun) -> Dataset:
    return Pipeline(run.directory, run.config).results.dataset()


def check_served(stack: Stack, dataset: Dataset, part: str, known: Ints, unnamed: Ints, reasons: list[str]) -> None:
    """Fail unless known users, and strangers who send the test examples' histories, get these lists."""
    test, ids = dataset.examples("test").take(USERS), dataset.catalogue.ids
    for user, stored, sent in zip(USERS.tolist(), named(known, ids), named(unnamed, ids), strict=True):
        answer = served(stack.gateway_port, user_id=dataset.user_ids[user])
        assert (answer["pipeline"], answer["reasons"]) == (part, [])
        assert answer["items"][0]["source"] == part
        assert item_ids(answer) == stored
        history = [ids[item] for item in test.histories[user]]
        answer = served(stack.gateway_port, user_id=f"unnamed {user}", history=history)
        assert item_ids(answer) == sent
        assert answer["reasons"] == reasons


def test_ulmrecs_list_is_that_of_the_offline_scorer(
    run: FinishedRun, dataset: Dataset, workers: WorkerKind, short_tmp
) -> None:
    assert run.bundle.manifest.ulmrec is not None
    scorer = ULMRecScorer(run.bundle.served("ulmrec").directory)
    reranker = Reranker(open_system(run.bundle), scorer.rate, run.bundle.manifest.ulmrec.candidates)
    ids = [dataset.user_ids[user] for user in USERS]
    assert all(scorer.prompts.user_index(user_id) is not None for user_id in ids)
    known = reranker.lists(dataset.full.take(USERS), ids, N)
    unnamed = reranker.lists(dataset.examples("test").take(USERS).histories, [None] * len(USERS), N)
    with stack_of(run.bundle, "ulmrec", workers, short_tmp) as stack:
        check_served(stack, dataset, "ulmrec", known, unnamed, ["new_index:user"])


def test_l2recs_list_is_that_of_the_offline_scorer(run: FinishedRun, dataset: Dataset, short_tmp) -> None:
    scorer = L2RecScorer.load(run.bundle.served("l2rec").directory, open_system(run.bundle).cf)

    def ranked(histories: Sequences) -> Ints:
        return rank_scores(scorer.scores(histories), histories, N)

    known, unnamed = ranked(dataset.full.take(USERS)), ranked(dataset.examples("test").take(USERS).histories)
    with stack_of(run.bundle, "l2rec", "engine", short_tmp) as stack:
        check_served(stack, dataset, "l2rec", known, unnamed, [])
