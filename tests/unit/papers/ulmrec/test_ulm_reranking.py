"""LlamaRec's protocol on lists that are made by hand."""

import numpy as np
import pytest

from models.papers.ulmrec.prompt_tokens import common_prefix, prompt_tokens
from models.papers.ulmrec.reranking import (
    NAMES,
    Asked,
    best_weight,
    by_chance,
    candidates_of,
    everybodys,
    metrics_of,
    others,
    sampled,
    with_retriever,
    without_history,
)
from models.papers.ulmrec.retriever import places
from models.papers.ulmrec.study_data import negatives_of
from models.types import Examples, Sequences

LISTS = np.asarray([[4, 2, 7, 9], [1, 3, 5, 8], [6, 0, 2, -1], [8, 7, 6, 5]], np.int32)
TARGETS = np.asarray([7, 8, 6, 0], np.int32)


def examples(targets: np.ndarray) -> Examples:
    histories = Sequences.of([np.asarray([10 + row], np.int32) for row in range(len(targets))])
    return Examples(np.arange(len(targets)), histories, targets)


def asked(lists: np.ndarray = LISTS, targets: np.ndarray = TARGETS, m: int = 3) -> Asked:
    return Asked.of(examples(targets), candidates_of(lists, targets, m))


def test_only_users_whose_target_is_among_the_first_candidates_are_reranked() -> None:
    found = candidates_of(LISTS, TARGETS, 3)
    assert found.rows.tolist() == [0, 2]  # that of 1 is the fourth, that of 3 is not in the list
    assert found.items.tolist() == [[4, 2, 7], [6, 0, 2]]
    assert places(LISTS, TARGETS).tolist() == [3, 4, 1, np.inf]


def test_targets_are_ranked_by_score_and_equal_ones_as_the_retriever_has_them() -> None:
    scores = np.asarray([[0.0, 3.0, 1.0], [2.0, 2.0, 1.0]], np.float32)
    assert asked().ranks(scores).tolist() == [2, 1]
    assert asked().ranks(np.zeros((2, 3), np.float32)).tolist() == [3, 1]


def test_places_without_a_candidate_are_never_ahead() -> None:
    lists, targets = np.asarray([[3, 1, -1]], np.int32), np.asarray([1], np.int32)
    assert asked(lists, targets).ranks(np.asarray([[0.0, -1.0, -np.inf]], np.float32)).tolist() == [2]


def test_rank_metrics_are_of_retrieved_targets_and_overall_ones_of_all_users() -> None:
    ranks = everybodys(np.asarray([2.0, 1.0]), np.asarray([0, 2]), 4, np.inf)
    overall = metrics_of(ranks)
    assert set(overall) == set(NAMES) == {"M@5", "N@5", "R@5", "M@10", "N@10", "R@10"}
    assert overall["R@5"].mean() == 0.5
    assert overall["M@5"].mean() == pytest.approx((1 / 2 + 1) / 4)
    assert overall["N@10"].mean() == pytest.approx((1 / np.log2(3) + 1) / 4)
    assert overall["N@10"][[0, 2]].mean() == pytest.approx((1 / np.log2(3) + 1) / 2)


def test_a_target_behind_the_cutoff_is_a_miss() -> None:
    values = metrics_of(np.asarray([5.0, 6.0, 10.0, 11.0]))
    assert values["R@5"].tolist() == [1, 0, 0, 0]
    assert values["R@10"].tolist() == [1, 1, 1, 0]


def test_chance_is_the_mean_over_all_places() -> None:
    chance = by_chance(np.asarray([range(20), [*range(4), *[-1] * 16]], np.int32))
    assert chance["R@10"].tolist() == [0.5, 1.0]
    assert chance["R@5"].tolist() == [0.25, 1.0]
    assert chance["M@5"][1] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_the_retrievers_vote_goes_from_the_letters_order_to_the_retrievers() -> None:
    scores = np.asarray([[0.0, 1.0, 2.0], [0.0, 0.5, -np.inf]], np.float32)
    assert np.argsort(-with_retriever(scores, 0.0)).tolist() == [[2, 1, 0], [1, 0, 2]]
    assert np.argsort(-with_retriever(scores, 5.0)).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert with_retriever(scores, 5.0)[1, 2] == -np.inf


def test_the_weight_is_the_one_that_validation_prefers() -> None:
    right = np.asarray([[0.0, 0.0, 3.0], [3.0, 0.0, 0.0]], np.float32)
    wrong = np.asarray([[0.0, 0.1, 0.0], [0.0, 0.0, 0.1]], np.float32)
    assert best_weight(right, asked()) == 0.0
    first = asked(targets=np.asarray([4, 1, 6, 8], np.int32))
    assert best_weight(np.tile(wrong, (2, 1)), first) > 0.0


def test_samples_keep_their_order_and_are_the_same_every_time() -> None:
    found = candidates_of(np.tile(LISTS, (10, 1)), np.tile(TARGETS, 10), 3)
    drawn = sampled(found, 7, seed=1)
    assert len(drawn) == 7
    assert (np.diff(drawn.rows) > 0).all()
    assert drawn.rows.tolist() == sampled(found, 7, seed=1).rows.tolist()
    assert sampled(found, 100, seed=1) is found


def test_the_control_shows_everyone_somebody_elses_index() -> None:
    users = np.asarray([5, 9, 2, 7])
    shown = others(users, seed=0)
    assert sorted(shown.tolist()) == sorted(users.tolist())
    assert not (shown == users).any()


def test_without_histories_nothing_is_left_of_them() -> None:
    assert np.diff(without_history(examples(TARGETS)).offsets).tolist() == [0, 0, 0, 0]


def test_negatives_are_by_user_and_leave_out_what_validation_asks_for() -> None:
    valid = Examples(np.asarray([2, 0]), Sequences.of([np.empty(0, np.int32)] * 2), np.asarray([3, 4], np.int32))
    lists = np.asarray([[1, 3, 5], [6, 7, 8]], np.int32)
    assert negatives_of(lists, valid, 3).tolist() == [[6, 7, 8], [-1, -1, -1], [1, -1, 5]]


def test_tokens_that_prompts_have_in_common() -> None:
    instruction = list(range(40))
    prompts = [np.asarray([*instruction, *rest], np.int32) for rest in ([7, 8], [7, 9, 9, 9], [7, 8, 1])]
    counted = prompt_tokens(prompts)
    assert (counted.common, counted.cached, counted.longest, counted.n_prompts) == (41, 32, 44, 3)
    assert counted.mean == pytest.approx((42 + 44 + 43) / 3)
    assert counted.cached_share == pytest.approx(32 / 43)
    assert common_prefix(prompts[:1]) == 42
