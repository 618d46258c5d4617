from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.titles import random_titles
from torch import Tensor

from models.contract.types import item_numbers
from models.llm.title_task import CachedTask, CachedWindows, TitleWindows, cached_score
from models.llm.training import IGNORED, TARGETS
from models.llm.trunk_cache import TokenPrompts, TrunkCache
from models.types import Examples, Sequences

N_ITEMS, HIDDEN = 30, 8
TITLES = random_titles(N_ITEMS, 15)
CPU = torch.device("cpu")


class LinearModel:
    """Scores follow from the state at a token alone."""

    def __init__(self) -> None:
        self.rows = torch.randn(N_ITEMS, HIDDEN, generator=torch.Generator().manual_seed(0))

    def logits(self, inputs: Tensor, where: Tensor) -> Tensor:
        return inputs[where] @ self.rows.T


def sequences(*histories: list[int]) -> Sequences:
    return Sequences.of([item_numbers(history) for history in histories])


def cache_of(prompts: TokenPrompts) -> TrunkCache:
    generator = torch.Generator().manual_seed(1)
    return TrunkCache(prompts, torch.randn(len(prompts.ids), HIDDEN, generator=generator).to(torch.bfloat16))


def task(data: Sequences, weights: list[float] | None = None, batch_size: int = 4, seed: int = 0) -> CachedTask:
    windows = TitleWindows.cut(data, history_length=4, newest=10)
    model: Any = LinearModel()
    return CachedTask(
        model=model,
        groups=[],
        data=CachedWindows(windows, TITLES, cache_of(windows.prompts(TITLES))),
        user_weights=np.asarray([1.0] * len(data) if weights is None else weights, np.float32),
        batch_size=batch_size,
        seed=seed,
        validate=lambda: 0.25,
    )


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=6),
    history_length=st.integers(1, 8),
    newest=st.integers(1, 9),
)
def test_every_one_of_the_newest_items_is_the_target_of_exactly_one_window(
    lengths: list[int], history_length: int, newest: int
) -> None:
    data = sequences(*(list(range(length)) for length in lengths))
    windows = TitleWindows.cut(data, history_length, newest)
    met: Counter[tuple[int, int]] = Counter()
    for row, user in enumerate(windows.users.tolist()):
        targets = windows.targets(row, TITLES)
        predicted = targets[targets != IGNORED].tolist()
        assert len(targets) == len(windows.prompts(TITLES)[row])
        assert predicted == windows.items[row].tolist() == list(range(predicted[0], predicted[0] + len(predicted)))
        assert len(predicted) <= history_length + 1
        met.update((user, item) for item in predicted)
    kept = newest * (history_length + 1)
    assert met == Counter((u, i) for u, length in enumerate(lengths) for i in range(max(length - kept, 0), length))


def test_targets_stand_at_the_last_tokens_of_items() -> None:
    windows = TitleWindows.cut(sequences([5, 9, 2]), 4, 1)
    targets, prompt = windows.targets(0, TITLES), windows.prompts(TITLES)[0]
    assert prompt.tolist() == TITLES.prompt([5, 9]).tolist()
    assert {int(at): int(targets[at]) for at in np.flatnonzero(targets != IGNORED)} == dict(
        zip(TITLES.ends([5, 9]).tolist(), [5, 9, 2], strict=True)
    )


def test_an_epoch_holds_every_window_once_in_an_order_of_its_own() -> None:
    one = task(sequences(*(list(range(n)) for n in range(1, 25))), batch_size=3)
    n_windows = sum(-(-n // 5) for n in range(1, 25))
    orders = [[row for batch in one.batches(epoch) for row in batch["tokens"].tolist()] for epoch in (0, 0, 1)]
    assert sorted(orders[0]) == list(range(n_windows))
    assert orders[0] == orders[1] != orders[2]
    assert all(len(batch["tokens"]) <= 3 for batch in one.batches(0))


def test_windows_of_like_length_come_together() -> None:
    one = task(sequences(*([7] * 5 if user % 2 else [7] for user in range(64))), batch_size=8)
    sizes = [{len(one._data.cache.prompts[row]) for row in batch["tokens"].tolist()} for batch in one.batches(0)]
    assert sum(len(lengths) > 1 for lengths in sizes) <= 1


def test_users_without_weight_are_left_out() -> None:
    one = task(sequences([1, 2], [3, 4], [5]), weights=[0.0, 0.5, 2.0])
    (batch,) = one.batches(0)
    assert sorted(zip(batch["tokens"].tolist(), batch["weights"].tolist(), strict=True)) == [(1, 0.5), (2, 2.0)]


def test_loss_is_the_weighted_mean_of_the_cross_entropies_at_the_ends_of_items() -> None:
    data, weights = sequences([3, 1, 4], [2], [7, 8, 9, 1, 0]), [0.5, 2.0, 0.25]
    one = task(data, weights, batch_size=8)
    (batch,) = one.batches(0)
    cache, rows = one._data.cache, LinearModel().rows.double()
    total = share = 0.0
    for user, weight in enumerate(weights):
        states = cache.states[cache.prompts.offsets[user] : cache.prompts.offsets[user + 1]].double()
        for place, item in zip(TITLES.ends(data[user][:-1]).tolist(), data[user].tolist(), strict=True):
            total -= weight * float(torch.log_softmax(rows @ states[place], 0)[item])
            share += weight
    assert batch[TARGETS].shape[1] == max(len(cache.prompts[row]) for row in range(3))
    assert float(one.loss(batch)) == pytest.approx(total / share, rel=2e-2)  # products may be rounded to bfloat16


def test_scores_are_those_of_each_histories_last_token() -> None:
    prompts = TokenPrompts.of([TITLES.prompt(history) for history in ([], [3], [4, 5, 6])])
    cache, model = cache_of(prompts), LinearModel()
    examples = Examples(np.asarray([2, 0, 1]), sequences([4, 5, 6], [], [3]), item_numbers([1, 1, 1]))
    linear: Any = model
    scores = cached_score(linear, cache, CPU)(examples)
    for place, row in enumerate([2, 0, 1]):
        last = cache.states[prompts.offsets[row + 1] - 1].float()
        np.testing.assert_allclose(scores[place], (model.rows @ last).numpy(), atol=0.1)
