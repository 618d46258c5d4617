"""What a local model was worth to a user, and that nothing is judged by the item that it is to predict."""

import numpy as np
import pytest

from models.contract.types import Ints, RankedList, item_numbers
from models.ranking.accuracy import judge, one_item_earlier
from models.ranking.answers import VoterLists
from models.types import Examples, Sequences


def examples(*rows: tuple[int, list[int], int]) -> Examples:
    """From (user, history, target)."""
    users, histories, targets = zip(*rows, strict=True)
    return Examples(
        np.asarray(users, np.int64),
        Sequences.of([item_numbers(history) for history in histories]),
        item_numbers(targets),
    )


def voter_lists(*rows: dict[str, list[int]]) -> VoterLists:
    lists = VoterLists.empty(("c00", "c01"), len(rows), 8)
    for row, by_name in enumerate(rows):
        for name, items in by_name.items():
            lists.put(row, lists.names.index(name), RankedList(item_numbers(items), np.zeros(len(items), np.float32)))
    return lists


def ranked_at(target: int, rank: int) -> list[int]:
    return [*range(100, 99 + rank), target]


def test_one_item_earlier_the_target_is_the_last_of_the_history() -> None:
    earlier = one_item_earlier(examples((4, [1, 2, 3], 9), (5, [], 8), (7, [6], 2)))
    assert earlier.users.tolist() == [4, 7]
    assert [earlier.histories[row].tolist() for row in range(2)] == [[1, 2], []]
    assert earlier.targets.tolist() == [3, 6]
    assert earlier.targets.dtype == np.int32


def test_nothing_that_validates_is_seen_when_models_are_judged_for_validation() -> None:
    valid = examples((0, [1, 2], 77), (1, [3, 4, 5], 88))
    earlier = one_item_earlier(valid)
    seen: Ints = np.concatenate([earlier.targets, earlier.histories.items])
    assert not set(seen.tolist()) & set(valid.targets.tolist())


@pytest.mark.parametrize(("rank", "expected"), [(1, 1.0), (3, 0.5), (5, 1 / np.log2(6)), (6, 0.0)])
def test_accuracy_is_ndcg_at_5(rank: int, expected: float) -> None:
    held_out = examples((2, [1], 9))
    accuracies = judge(voter_lists({"c01": ranked_at(9, rank)}), ("c00", "c01"), held_out, n_users=4)
    assert accuracies.shape == (4, 2)
    assert accuracies[2] == pytest.approx([0.0, expected])
    assert not accuracies[[0, 1, 3]].any()


def test_accuracy_is_the_mean_over_a_users_examples() -> None:
    held_out = examples((0, [1], 9), (1, [1], 9), (0, [1, 9], 8))
    lists = voter_lists({"c00": ranked_at(9, 1)}, {"c00": ranked_at(9, 1)}, {"c00": ranked_at(8, 3)})
    assert judge(lists, ("c00", "c01"), held_out, n_users=2)[:, 0] == pytest.approx([0.75, 1.0])
