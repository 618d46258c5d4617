"""The `local` pipeline offline, against the same thing written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.runs import N_COMMUNITIES, FinishedRun

from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings
from models.contract.types import Ints, item_numbers
from models.evaluation.metrics import NO_ITEM, mean_ndcg, ndcg, rank_scores, ranks_in_lists
from models.llm.item_token import CatalogueModel
from models.pipeline import Pipeline
from models.ranking.answers import Answers
from models.ranking.ranker import LocalRanker, voter_lists
from models.ranking.recommend import recommend, recommend_all
from models.ranking.system import LocalSystem
from models.types import Examples, Sequences, chunks_of

CANDIDATES = 6
SETTINGS = [
    FusionSettings(FusionMethod.COUNT, 0.0, CANDIDATES),
    FusionSettings(FusionMethod.RRF, 10.0, CANDIDATES),
    FusionSettings(FusionMethod.WRRF_CF, 0.0, CANDIDATES),
    FusionSettings(FusionMethod.WRRF_LLM, 0.0, CANDIDATES),
]
OTHERS = (("cf", 0.5), ("global", 2.0))


@pytest.fixture(scope="module")
def pipeline(finished_run: FinishedRun) -> Pipeline:
    return Pipeline(finished_run.directory, finished_run.config, lambda line: None)


@pytest.fixture(scope="module")
def system(pipeline: Pipeline) -> LocalSystem:
    return pipeline.results.system()


@pytest.fixture(scope="module")
def valid(pipeline: Pipeline) -> Examples:
    return pipeline.results.dataset().examples("valid")


@pytest.fixture(scope="module")
def answers(system: LocalSystem, valid: Examples) -> Answers:
    return LocalRanker(system, CANDIDATES).answers(valid.histories, accuracies=made_up_accuracies(len(valid)))


def made_up_accuracies(n: int) -> np.ndarray:
    return np.random.default_rng(3).choice([0.0, 0.5, 1.0], size=(n, N_COMMUNITIES)).astype(np.float32)


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


def literally_fused(weights: dict[int, float], lists: dict[int, list[int]], settings: FusionSettings) -> list[int]:
    """Equations 5 and 6, item by item; ties by the best rank, then by number."""
    scores: dict[int, float] = {}
    best_rank: dict[int, int] = {}
    for community, items in lists.items():
        for rank, item in enumerate(items, start=1):
            match settings.method:
                case FusionMethod.COUNT:
                    vote = 1.0 if rank <= 10 else 0.0
                case _:
                    vote = weights[community] / (settings.k + rank)
            scores[item] = scores.get(item, 0.0) + vote
            best_rank[item] = min(best_rank.get(item, rank), rank)
    return sorted(scores, key=lambda item: (-round(scores[item], 9), best_rank[item], item))


def test_answers_hold_each_communitys_best_unseen_items(system: LocalSystem, valid: Examples, answers: Answers) -> None:
    communities = set()
    for row in range(0, len(valid), 4):
        history = valid.histories[row]
        weights = affinities_of(system, history)
        voters = [voter for voter in answers[row].voters if voter.membership]
        assert {v.membership.community for v in voters} == set(weights)
        given = [v.membership.cf_weight for v in voters]
        assert given == sorted(given, reverse=True)
        assert given == pytest.approx(sorted(weights.values(), reverse=True), abs=2e-3)
        for voter in voters:
            communities.add(voter.membership.community)
            scores = community_scores(system, history, f"c{voter.membership.community:02d}")
            assert voter.ranking.items.tolist() == best(scores, set(history.tolist()), CANDIDATES)
    assert communities == set(range(N_COMMUNITIES))


def test_a_community_ranks_its_own_items_alone(system: LocalSystem, valid: Examples, answers: Answers) -> None:
    """Equation 4: of what it would rank among all items, those of V_j are left, in their order."""
    own = np.random.default_rng(0).random((system.cf.n_items, N_COMMUNITIES)) < 0.5
    narrowed = LocalRanker(replace(system, items=own), CANDIDATES).answers(valid.histories)
    for answer, before in zip(narrowed, answers, strict=True):
        for voter, whole in zip(answer.voters, before.voters, strict=True):
            items = whole.ranking.items
            kept = items if voter.membership is None else items[own[items, voter.membership.community]]
            assert voter.ranking.items.tolist() == kept.tolist()


def test_communities_answer_differently(answers: Answers) -> None:
    communities = [[v.ranking for v in answer.voters if v.membership] for answer in answers]
    shared = [rankings for rankings in communities if len(rankings) == N_COMMUNITIES]
    assert shared
    assert any(not np.array_equal(*(ranking.scores for ranking in rankings)) for rankings in shared)


def test_beside_the_communities_everybody_has_the_lists_of_the_global_models(
    system: LocalSystem, valid: Examples, answers: Answers
) -> None:
    for row in range(0, len(valid), 4):
        history = valid.histories[row]
        lists = {voter.name: voter.ranking for voter in answers[row].voters if not voter.membership}
        assert list(lists) == ["global", "cf"]
        for name, scores in {
            "global": community_scores(system, history, "global"),
            "cf": system.cf.scores(answers.profiles[row].embedding).tolist(),
        }.items():
            items = best(scores, set(history.tolist()), CANDIDATES)
            assert lists[name].items.tolist() == items
            np.testing.assert_allclose(lists[name].scores, [scores[item] for item in items], atol=1e-4)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.method)
def test_the_served_list_is_the_fusion_written_out(
    system: LocalSystem, answers: Answers, settings: FusionSettings
) -> None:
    for row, answer in enumerate(answers):
        history, seen = answer.history, set(answer.history.tolist())
        affinities = affinities_of(system, history)
        hits = {j: np.exp(made_up_accuracies(len(answers))[row, j]) for j in affinities}
        weights = {
            FusionMethod.WRRF_CF: affinities,
            FusionMethod.WRRF_LLM: {j: float(np.float16(power / sum(hits.values()))) for j, power in hits.items()},
        }.get(settings.method, dict.fromkeys(affinities, 1.0))
        lists = {v.membership.community: v.ranking.items.tolist() for v in answer.voters if v.membership}
        expected = literally_fused(weights, lists, settings)
        if len(expected) < 12:
            user = answer.profile.embedding
            cf = [
                float(user @ row + bias) for row, bias in zip(system.cf.item_factors, system.cf.item_bias, strict=True)
            ]
            expected += best(cf, seen | set(expected), 12 - len(expected))
        assert recommend(system, answer, settings, 12).tolist() == expected[:12]


def test_users_whose_models_were_not_judged_weigh_them_equally(system: LocalSystem, valid: Examples) -> None:
    answers = LocalRanker(system, CANDIDATES).answers(valid.histories)
    lists = [
        recommend_all(system, answers, FusionSettings(method, 10.0, CANDIDATES), 8)
        for method in (FusionMethod.RRF, FusionMethod.WRRF_LLM)
    ]
    np.testing.assert_array_equal(*lists)


def test_lists_hold_no_seen_item_and_none_twice(system: LocalSystem, answers: Answers) -> None:
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
        assert answer.profile.memberships == ()
        history = valid.histories[row]
        scores = system.cf.scores(answer.profile.embedding).tolist()
        assert recommend(nobodys, answer, SETTINGS[0], 5).tolist() == best(scores, set(history.tolist()), 5)


@pytest.mark.parametrize("method", list(FusionMethod))
def test_a_user_of_no_community_is_ranked_by_the_other_voters(
    system: LocalSystem, valid: Examples, method: FusionMethod
) -> None:
    nobodys = replace(system, bandwidth=1e-6)
    alone = LocalRanker(nobodys, CANDIDATES).answers(valid.histories.take(np.arange(3)))
    settings = FusionSettings(method, 0.0, CANDIDATES, (("global", 0.25),))
    for row, answer in enumerate(alone):
        scores = community_scores(system, valid.histories[row], "global")
        assert recommend(nobodys, answer, settings, 5).tolist() == best(scores, set(valid.histories[row].tolist()), 5)


def test_of_an_empty_history_nothing_is_known_but_what_is_popular(system: LocalSystem) -> None:
    (answer,) = LocalRanker(system, CANDIDATES).answers(Sequences.of([item_numbers([])]))
    assert answer.profile.memberships == ()
    settings = FusionSettings(FusionMethod.RRF, 0.0, CANDIDATES, OTHERS)
    assert recommend(system, answer, settings, 5).tolist() == best(system.popularity.tolist(), set(), 5)


@pytest.mark.parametrize("others", [(), OTHERS])
def test_candidates_are_ranked_among_themselves(
    system: LocalSystem, valid: Examples, others: tuple[tuple[str, float], ...]
) -> None:
    """As the full ranking would order them, where every list reaches to its end."""
    n_items, settings = len(system.popularity), FusionSettings(FusionMethod.COUNT, 0.0, len(system.popularity), others)
    rng = np.random.default_rng(0)
    unseen = [np.setdiff1d(np.arange(n_items), valid.histories[row]) for row in range(len(valid))]
    allowed = np.stack([rng.choice(items, 8, replace=False) for items in unseen]).astype(np.int32)
    answers = LocalRanker(system, n_items).answers(valid.histories, allowed)
    lists = recommend_all(system, answers, settings, 10)
    assert (lists[:, 8:] == NO_ITEM).all()
    np.testing.assert_array_equal(np.sort(lists[:, :8], axis=1), np.sort(allowed, axis=1))
    for row, answer in enumerate(answers):
        for voter in answer.voters:
            assert set(voter.ranking.items.tolist()) == set(allowed[row].tolist())


def test_candidates_beyond_the_lists_come_from_the_fallbacks(system: LocalSystem, valid: Examples) -> None:
    nobodys = replace(system, bandwidth=1e-6)
    unseen = [np.setdiff1d(np.arange(len(system.popularity)), valid.histories[row])[:7] for row in range(4)]
    allowed = np.stack(unseen).astype(np.int32)
    answers = LocalRanker(nobodys, CANDIDATES).answers(valid.histories.take(np.arange(4)), allowed)
    for row, items in enumerate(recommend_all(nobodys, answers, SETTINGS[0], 9)):
        scores = system.cf.scores(answers.profiles[row].embedding).tolist()
        excluded = set(range(len(scores))) - set(allowed[row].tolist())
        assert items.tolist() == [*best(scores, excluded, 7), NO_ITEM, NO_ITEM]


def test_any_model_can_vote(system: LocalSystem, valid: Examples, answers: Answers) -> None:
    taste = np.random.default_rng(1).normal(size=(len(valid), len(system.popularity))).astype(np.float32)
    order = {user: row for row, user in enumerate(valid.users.tolist())}

    def score(examples: Examples) -> np.ndarray:
        return taste[[order[user] for user in examples.users.tolist()]]

    joined = answers.with_voters(voter_lists("random", score, valid, CANDIDATES))
    alone = FusionSettings(FusionMethod.RRF, 0.0, CANDIDATES, (("random", 1000.0),))
    served = recommend_all(system, joined, alone, 3)
    np.testing.assert_array_equal(served, rank_scores(taste, valid.histories, 3))
    silent = FusionSettings(FusionMethod.RRF, 0.0, CANDIDATES)
    np.testing.assert_array_equal(recommend_all(system, joined, silent, 8), recommend_all(system, answers, silent, 8))


def test_the_global_adapter_is_not_changed_by_the_communities(system: LocalSystem, valid: Examples) -> None:
    local = LocalRanker(system, CANDIDATES)
    before, after = (local.answers(valid.histories).lists.get(0, "global") for _ in range(2))
    np.testing.assert_array_equal(after.items, before.items)
    np.testing.assert_array_equal(after.scores, before.scores)
    expected = np.asarray(community_scores(system, valid.histories[0], "global"))
    np.testing.assert_allclose(before.scores, expected[before.items], atol=1e-4)


def test_chunks_are_the_rows_in_order_and_change_nothing(
    system: LocalSystem, valid: Examples, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.types.SCORED_AT_ONCE", 15)
    assert [rows.tolist() for rows in chunks_of(np.arange(32))] == [[*range(15)], [*range(15, 30)], [30, 31]]
    again = LocalRanker(system, CANDIDATES).answers(valid.histories)
    np.testing.assert_array_equal(again.lists.items, answers.lists.items)
    np.testing.assert_allclose(again.lists.scores, answers.lists.scores, atol=1e-4)


def test_the_local_system_knows_more_than_popularity(system: LocalSystem, valid: Examples) -> None:
    answers = LocalRanker(system, CANDIDATES).answers(valid.histories)
    lists = recommend_all(system, answers, SETTINGS[1], 10)
    local = ndcg(ranks_in_lists(lists, valid.targets), 10).mean()
    assert local > mean_ndcg(lambda examples: np.tile(system.popularity, (len(examples), 1)), valid) + 0.3
