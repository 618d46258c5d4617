"""The search finds what is best on validation, and tries nothing twice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.contract.cf import CFModel
from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings
from models.contract.types import Ints, Membership, Profile, RankedList, item_numbers
from models.evaluation.metrics import ndcg, ranks_in_lists
from models.ranking import fusion_search
from models.ranking.answers import Answer, Answers, VoterLists
from models.ranking.fusion_search import ServingConfig, Tried, best_fusion, in_words, leaders, try_fusions
from models.ranking.recommend import recommend_all
from models.ranking.system import LocalSystem
from models.types import Sequences

N_ITEMS, N_USERS = 40, 60
CONFIG = ServingConfig(candidates=10, dampings=(0.0, 7.0), voter_weights=(0.0, 0.5, 4.0))
RRF, SCORES = FusionMethod.RRF, FusionMethod.SCORES


@pytest.fixture(scope="module")
def system() -> LocalSystem:
    cf = CFModel(*(np.zeros(shape, np.float32) for shape in ((N_ITEMS, 2), 2, (N_ITEMS, 2), N_ITEMS)))
    anchors, popularity = np.zeros((2, 2), np.float32), np.zeros(N_ITEMS, np.float32)
    return LocalSystem(cf, anchors, 1.0, "epanechnikov", popularity, Path(), {}, 5)


@pytest.fixture(scope="module")
def targets() -> Ints:
    return item_numbers(np.random.default_rng(0).integers(1, N_ITEMS, N_USERS))


def lists_of(ranks: dict[str, NDArray[np.int64]], targets: Ints) -> VoterLists:
    """Each voter's list for each user: noise, the target at a given rank (0: nowhere)."""
    rng, lists = np.random.default_rng(1), VoterLists.empty(tuple(ranks), N_USERS, 10)
    for column, of_users in enumerate(ranks.values()):
        for row, (rank, target) in enumerate(zip(of_users.tolist(), targets.tolist(), strict=True)):
            items = rng.permutation(np.setdiff1d(np.arange(1, N_ITEMS), target))[:10]
            if rank:
                items[rank - 1] = target
            lists.put(row, column, RankedList(item_numbers(items), np.arange(10, 0, -1, dtype=np.float32)))
    return lists


@pytest.fixture(scope="module")
def answers(targets: Ints) -> Answers:
    """The communities know a little, the CF model much, the global adapter and the clairvoyant nothing and all."""
    rng = np.random.default_rng(2)
    ranks = {name: rng.integers(0, 8, N_USERS) for name in ("c00", "c01")}
    ranks |= {
        "global": np.zeros(N_USERS, np.int64),
        "cf": rng.integers(1, 3, N_USERS),
        "oracle": np.ones(N_USERS, np.int64),
    }
    profile = Profile(np.zeros(2, np.float32), (Membership(1, 0.75, 0.5), Membership(0, 0.5, 0.5)))
    histories = Sequences.of([item_numbers([0])] * N_USERS)
    return Answers(histories, ("c00", "c01"), [profile] * N_USERS, lists_of(ranks, targets))


def test_every_method_is_tried_with_every_k(system: LocalSystem, answers: Answers, targets: Ints) -> None:
    tried = try_fusions(system, answers, targets, CONFIG)
    alone = [t.settings for t in tried if not t.settings.others]
    assert sorted(f"{s.method} {s.k:g}" for s in alone) == [
        *("count 0", "rrf 0", "rrf 7", "scores 0", "wrrf_cf 0", "wrrf_cf 7", "wrrf_llm 0", "wrrf_llm 7"),
    ]
    assert len({t.settings for t in tried}) == len(tried)
    for t in tried:
        lists = recommend_all(system, answers, t.settings, 10)
        assert t.settings.candidates == 10
        assert t.ndcg == pytest.approx(ndcg(ranks_in_lists(lists, targets), 10).mean())
    assert try_fusions(system, answers, targets, CONFIG) == tried


def test_a_voter_who_knows_better_gets_weight_and_one_who_knows_nothing_none(
    system: LocalSystem, answers: Answers, targets: Ints
) -> None:
    tried = try_fusions(system, answers, targets, CONFIG)
    best = best_fusion(tried)
    assert dict(best.others).keys() == {"cf"}
    by_settings = {t.settings: t.ndcg for t in tried}
    assert by_settings[best] > 1.2 * max(value for s, value in by_settings.items() if not s.others)
    assert {s.method for s in by_settings if s.others} >= {SCORES}  # the search starts from ranks and from scores


def test_only_those_are_tried_who_may_vote(system: LocalSystem, answers: Answers, targets: Ints) -> None:
    def others(tried: list[Tried]) -> set[str]:
        return {name for t in tried for name, _ in t.settings.others}

    assert others(try_fusions(system, answers, targets, CONFIG)) == {"global", "cf"}
    assert others(try_fusions(system, answers, targets, replace(CONFIG, voters=("global",)))) == {"global"}
    assert others(try_fusions(system, answers, targets, replace(CONFIG, voters=()))) == set()
    offline = try_fusions(system, answers, targets, CONFIG, ("cf", "oracle"))
    assert "oracle" in dict(best_fusion(offline).others)
    assert max(t.ndcg for t in offline) > 0.95


def test_the_best_settings_of_all_and_of_a_method() -> None:
    rrf, damped, weighted = (
        FusionSettings(method, k) for method, k in [(RRF, 0.0), (RRF, 40.0), (FusionMethod.WRRF_CF, 0.0)]
    )
    with_cf = replace(rrf, others=(("cf", 1.0),))
    tried = [Tried(rrf, 0.1), Tried(damped, 0.2), Tried(weighted, 0.3), Tried(replace(rrf, k=9.0), 0.2)]
    assert best_fusion(tried) == weighted
    assert best_fusion(tried, RRF) == damped  # of equals the one that was tried first
    assert best_fusion([*tried, Tried(with_cf, 0.4)]) == with_cf
    assert best_fusion([*tried, Tried(with_cf, 0.4)], RRF) == damped  # a method's own best is the communities' alone


def test_leaders_are_every_methods_best_and_the_best_of_all(
    system: LocalSystem, answers: Answers, targets: Ints
) -> None:
    tried = try_fusions(system, answers, targets, CONFIG)
    shown = leaders(tried)
    assert [t.settings.method for t in shown[:-1]] == list(FusionMethod)
    assert not any(t.settings.others for t in shown[:-1])
    assert shown[-1].ndcg == max(t.ndcg for t in tried)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (FusionSettings(FusionMethod.COUNT), "count"),
        (FusionSettings(RRF, 10.0, 100, (("cf", 0.5), ("global", 2.0))), "rrf, k = 10, cf 0.5, global 2"),
        (FusionSettings(SCORES, 0.0, 100, (("cf", 1.0),)), "scores, cf 1"),
    ],
)
def test_settings_in_words(settings: FusionSettings, words: str) -> None:
    assert in_words(settings) == words


def test_no_examples_are_no_error(system: LocalSystem, answers: Answers, targets: Ints) -> None:
    nobody = Answers(Sequences.of([]), answers.communities, [], VoterLists.empty(answers.lists.names, 0, 10))
    assert {t.ndcg for t in try_fusions(system, nobody, targets[:0], CONFIG)} == {0.0}


@pytest.mark.parametrize(("better", "others"), [(FusionMethod.COUNT, ()), (RRF, (("cf", 4.0),)), (SCORES, ())])
def test_the_search_finds_the_one_that_hits(
    system: LocalSystem,
    answers: Answers,
    targets: Ints,
    monkeypatch: pytest.MonkeyPatch,
    better: FusionMethod,
    others: tuple[tuple[str, float], ...],
) -> None:
    """Lists that hold the target under the chosen settings only."""

    def rigged(system: LocalSystem, answers: list[Answer], settings: FusionSettings, n: int) -> Ints:
        hit = settings.method is better and settings.others == others
        return np.where(hit, targets[:, None], np.int32(-1)) * np.ones((1, n), np.int32)

    monkeypatch.setattr(fusion_search, "recommend_all", rigged)
    best = best_fusion(try_fusions(system, answers, targets, CONFIG))
    assert (best.method, best.others) == (better, others)
