"""The `local` pipeline offline, against the same thing written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.runs import N_COMMUNITIES, FinishedRun

from models import ranking
from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings
from models.contract.types import Ints, item_numbers
from models.llm.item_token import CatalogueModel
from models.metrics import NO_ITEM, mean_ndcg, ndcg, ranks_in_lists
from models.pipeline import Pipeline
from models.ranking import (
    Answers,
    LocalRanker,
    LocalSystem,
    ServingConfig,
    Tried,
    best_fusion,
    chunks,
    recommend,
    recommend_all,
    try_fusions,
)
from models.types import Examples, Sequences

CANDIDATES = 6
SETTINGS = [
    FusionSettings(FusionMethod.COUNT, 0.0, CANDIDATES),
    FusionSettings(FusionMethod.RRF, 10.0, CANDIDATES),
    FusionSettings(FusionMethod.WRRF_CF, 0.0, CANDIDATES),
]


@pytest.fixture(scope="module")
def pipeline(finished_run: FinishedRun) -> Pipeline:
    return Pipeline(finished_run.directory, finished_run.config, lambda line: None)


@pytest.fixture(scope="module")
def system(pipeline: Pipeline) -> LocalSystem:
    return pipeline.system()


@pytest.fixture(scope="module")
def valid(pipeline: Pipeline) -> Examples:
    return pipeline.dataset().examples("valid")


@pytest.fixture(scope="module")
def answers(system: LocalSystem, valid: Examples) -> list[Answers]:
    return LocalRanker(system, CANDIDATES).answers(valid.histories)


def community_scores(system: LocalSystem, history: Ints, adapter: str) -> list[float]:
    """Scores of all items under one adapter, with a model of its own."""
    model = CatalogueModel.load(system.checkpoint, system.adapters[adapter])
    tokens = torch.tensor([[model.n_items, *history[-system.history_length :].tolist()]])
    where = torch.zeros_like(tokens, dtype=torch.bool)
    where[0, -1] = True
    with torch.inference_mode():
        scores: list[float] = model.logits(tokens, where)[0].tolist()
    return scores


def best(scores: list[float], excluded: set[int], n: int) -> list[int]:
    return sorted((i for i in range(len(scores)) if i not in excluded), key=lambda i: (-scores[i], i))[:n]


def affinities_of(system: LocalSystem, history: Ints) -> dict[int, float]:
    """Equations 1 and 2, in float64, rounded as Redis holds them."""
    cf, items = system.cf, sorted(set(history.tolist()))
    embedding = np.float16(
        sum(cf.encoder_weight[i].astype(np.float64) for i in items) / len(items) ** 0.5 + cf.encoder_bias
    )
    user = embedding.astype(np.float64)
    weights = {}
    for community, anchor in enumerate(system.anchors.astype(np.float64)):
        cosine = user @ anchor / (np.linalg.norm(user) * np.linalg.norm(anchor))
        distance = 2 / np.pi * np.arccos(cosine)
        if distance < system.bandwidth:
            weights[community] = float(np.float16(1 - distance**2))
    return weights


def literally_fused(
    system: LocalSystem, history: Ints, lists: dict[int, list[int]], settings: FusionSettings
) -> list[int]:
    """Equations 5 and 6, item by item; ties by the best rank, then by number."""
    weights = affinities_of(system, history)
    scores: dict[int, float] = {}
    best_rank: dict[int, int] = {}
    for community, items in lists.items():
        for rank, item in enumerate(items, start=1):
            match settings.method:
                case FusionMethod.COUNT:
                    vote = 1.0 if rank <= 10 else 0.0
                case FusionMethod.RRF:
                    vote = 1 / (settings.k + rank)
                case _:
                    vote = weights[community] / (settings.k + rank)
            scores[item] = scores.get(item, 0.0) + vote
            best_rank[item] = min(best_rank.get(item, rank), rank)
    return sorted(scores, key=lambda item: (-round(scores[item], 9), best_rank[item], item))


def test_answers_hold_each_communitys_best_unseen_items(
    system: LocalSystem, valid: Examples, answers: list[Answers]
) -> None:
    communities = set()
    for row in range(0, len(valid), 4):
        history = valid.histories[row]
        weights = affinities_of(system, history)
        voters = answers[row].voters
        assert {v.membership.community for v in voters} == set(weights)
        given = [v.membership.cf_weight for v in voters]
        assert given == sorted(given, reverse=True)
        assert given == pytest.approx(sorted(weights.values(), reverse=True), abs=2e-3)
        for voter in voters:
            communities.add(voter.membership.community)
            scores = community_scores(system, history, f"c{voter.membership.community:02d}")
            assert voter.ranking.items.tolist() == best(scores, set(history.tolist()), CANDIDATES)
    assert communities == set(range(N_COMMUNITIES))


def test_communities_answer_differently(answers: list[Answers]) -> None:
    shared = [answer for answer in answers if len(answer.voters) == N_COMMUNITIES]
    assert shared
    assert any(not np.array_equal(*(voter.ranking.scores for voter in answer.voters)) for answer in shared)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.method)
def test_the_served_list_is_the_fusion_written_out(
    system: LocalSystem, answers: list[Answers], settings: FusionSettings
) -> None:
    for answer in answers:
        history, seen = answer.history, set(answer.history.tolist())
        lists = {v.membership.community: v.ranking.items.tolist() for v in answer.voters}
        expected = literally_fused(system, history, lists, settings)
        if len(expected) < 12:
            user = answer.profile.embedding
            cf = [
                float(user @ row + bias) for row, bias in zip(system.cf.item_factors, system.cf.item_bias, strict=True)
            ]
            expected += best(cf, seen | set(expected), 12 - len(expected))
        assert recommend(system, answer, settings, 12).tolist() == expected[:12]


def test_lists_hold_no_seen_item_and_none_twice(system: LocalSystem, answers: list[Answers]) -> None:
    lists = recommend_all(system, answers, SETTINGS[1], 25)
    for answer, items in zip(answers, lists, strict=True):
        shown = items[items != NO_ITEM].tolist()
        n_unseen = len(system.popularity) - len(np.unique(answer.history))
        assert len(set(shown)) == len(shown) == n_unseen  # the fallbacks go on to the end of the catalogue
        assert not set(shown) & set(answer.history.tolist())
        assert (items[n_unseen:] == NO_ITEM).all()


def test_a_user_of_no_community_gets_the_global_cf_list(system: LocalSystem, valid: Examples) -> None:
    nobodys = replace(system, bandwidth=1e-6)
    alone = LocalRanker(nobodys, CANDIDATES).answers(valid.histories.take(np.arange(3)))
    for row, answer in enumerate(alone):
        assert answer.voters == ()
        history = valid.histories[row]
        scores = system.cf.scores(answer.profile.embedding).tolist()
        assert recommend(nobodys, answer, SETTINGS[0], 5).tolist() == best(scores, set(history.tolist()), 5)


def test_an_empty_history_belongs_to_no_community(system: LocalSystem) -> None:
    (answer,) = LocalRanker(system, CANDIDATES).answers(Sequences.of([item_numbers([])]))
    assert answer.voters == ()
    assert len(recommend(system, answer, SETTINGS[0], 5)) == 5


def test_the_global_adapter_is_not_changed_by_the_communities(system: LocalSystem, valid: Examples) -> None:
    ranker = LocalRanker(system, CANDIDATES)
    before = ranker.global_scores(valid.histories)
    ranker.answers(valid.histories)
    np.testing.assert_array_equal(ranker.global_scores(valid.histories), before)
    expected = community_scores(system, valid.histories[0], "global")
    np.testing.assert_allclose(before[0], expected, atol=1e-4)


def test_every_method_is_tried_with_every_k(system: LocalSystem, valid: Examples) -> None:
    config = ServingConfig(candidates=CANDIDATES, dampings=(0.0, 7.0))
    tried = try_fusions(system, valid, config)
    names = [f"{t.settings.method} {t.settings.k:g}" for t in tried]
    assert names == ["count 0", "rrf 0", "rrf 7", "wrrf_cf 0", "wrrf_cf 7"]
    answers = LocalRanker(system, CANDIDATES).answers(valid.histories)
    for t in tried:
        lists = recommend_all(system, answers, t.settings, 10)
        assert t.settings.candidates == CANDIDATES
        assert t.ndcg == pytest.approx(ndcg(ranks_in_lists(lists, valid.targets), 10).mean())
    assert try_fusions(system, valid, config) == tried


def test_the_best_settings_of_all_and_of_a_method() -> None:
    rrf, damped, weighted = (
        FusionSettings(method, k) for method, k in [("rrf", 0.0), ("rrf", 40.0), (FusionMethod.WRRF_CF, 0.0)]
    )
    tried = [Tried(rrf, 0.1), Tried(damped, 0.2), Tried(weighted, 0.3), Tried(rrf, 0.2)]
    assert best_fusion(tried) == weighted
    assert best_fusion(tried, FusionMethod.RRF) == damped  # of equals the one that was tried first


@pytest.fixture
def rigged(monkeypatch: pytest.MonkeyPatch, valid: Examples) -> dict[tuple[FusionMethod, float], bool]:
    """Lists that hold the target under the chosen settings only."""
    right: dict[tuple[FusionMethod, float], bool] = {}

    def lists(system: LocalSystem, answers: list[Answers], settings: FusionSettings, n: int) -> Ints:
        hit = right.get((settings.method, settings.k), False)
        return np.tile(valid.targets[:, None] if hit else np.int32(NO_ITEM), (1 if hit else len(answers), n))

    monkeypatch.setattr(ranking, "recommend_all", lists)
    return right


@pytest.mark.parametrize(
    "better", [(FusionMethod.COUNT, 0.0), (FusionMethod.RRF, 7.0), (FusionMethod.WRRF_CF, 0.0)], ids=str
)
def test_serving_finds_the_one_that_hits(
    system: LocalSystem,
    valid: Examples,
    rigged: dict[tuple[FusionMethod, float], bool],
    better: tuple[FusionMethod, float],
) -> None:
    rigged[better] = True
    tried = try_fusions(system, valid, ServingConfig(candidates=CANDIDATES, dampings=(0.0, 7.0)))
    chosen = best_fusion(tried)
    assert (chosen.method, chosen.k) == better
    assert max(t.ndcg for t in tried) == 1.0


def test_chunks_are_the_examples_in_order(valid: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "CHUNK", 15)
    parts = list(chunks(valid))
    assert [len(part) for part in parts] == [15, 15, 10]
    np.testing.assert_array_equal(np.concatenate([part.targets for part in parts]), valid.targets)
    np.testing.assert_array_equal(parts[1].histories[0], valid.histories[15])


def test_the_local_system_knows_more_than_popularity(system: LocalSystem, valid: Examples) -> None:
    class Popular:
        def scores(self, histories: Sequences) -> np.ndarray:
            return np.tile(system.popularity, (len(histories), 1))

    answers = LocalRanker(system, CANDIDATES).answers(valid.histories)
    lists = recommend_all(system, answers, SETTINGS[1], 10)
    local = ndcg(ranks_in_lists(lists, valid.targets), 10).mean()
    assert local > mean_ndcg(Popular(), valid) + 0.3
