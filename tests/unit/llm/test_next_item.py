from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.contract.types import item_numbers
from models.llm.next_item import IGNORED, NextItemScorer, NextItemTask, WindowConfig
from models.llm.training import Batch
from models.types import Sequences

N_ITEMS = 30
CPU = torch.device("cpu")


class BigramModel:
    """A score depends on the last token alone; remembers the batches it was shown."""

    n_items = N_ITEMS

    def __init__(self) -> None:
        self.table = torch.randn(N_ITEMS + 1, N_ITEMS, generator=torch.Generator().manual_seed(0))
        self.batch_sizes: list[int] = []

    def logits(self, tokens: Tensor, where: Tensor) -> Tensor:
        self.batch_sizes.append(len(tokens))
        return self.table[tokens][where]


def sequences(*histories: list[int]) -> Sequences:
    return Sequences.of([item_numbers(history) for history in histories])


def task(data: Sequences, weights: list[float] | None = None, config: WindowConfig | None = None) -> NextItemTask:
    return NextItemTask(
        model=BigramModel(),
        groups=[],
        sequences=data,
        user_weights=np.asarray([1.0] * len(data) if weights is None else weights, np.float32),
        config=config or WindowConfig(history_length=4, batch_size=8, seed=0),
        validate=lambda: 0.25,
    )


def windows(batches: list[Batch]) -> list[tuple[list[int], list[int], float]]:
    """Inputs, targets and weight of every window, without the padding."""
    rows = []
    for batch in batches:
        for tokens, targets, weight in zip(batch["tokens"], batch["targets"], batch["weights"], strict=True):
            real = targets != IGNORED
            rows.append((tokens[real].tolist(), targets[real].tolist(), float(weight)))
            assert (tokens[~real] == N_ITEMS).all()
            assert real.tolist() == sorted(real.tolist(), reverse=True)  # padding is on the right
    return rows


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=6),
    history_length=st.integers(1, 8),
    batch_size=st.integers(1, 7),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
)
def test_every_item_is_the_target_of_exactly_one_window(
    lengths: list[int], history_length: int, batch_size: int, seed: int, epoch: int
) -> None:
    data = sequences(*(list(range(length)) for length in lengths))
    users = [float(user + 1) for user in range(len(lengths))]
    batches = task(data, users, WindowConfig(history_length, batch_size, seed)).batches(epoch)
    targets: Counter[tuple[float, int]] = Counter()
    for tokens, following, weight in windows(batches):
        assert tokens == [N_ITEMS, *following[:-1]]  # the start token predicts the first, an item the one after it
        assert following == list(range(following[0], following[0] + len(following)))
        assert len(tokens) <= history_length + 1  # as long as the longest prompt that is served
        targets.update((weight, item) for item in following)
    assert targets == Counter((users[u], item) for u, length in enumerate(lengths) for item in range(length))
    assert all(len(batch["tokens"]) <= batch_size for batch in batches)


def test_short_sequences_are_one_window() -> None:
    short = sequences([5], [1, 2, 3, 4, 5])
    assert sorted(windows(task(short).batches(0))) == [([30], [5], 1.0), ([30, 1, 2, 3, 4], [1, 2, 3, 4, 5], 1.0)]


def test_long_sequences_are_cut_elsewhere_every_epoch() -> None:
    one = task(sequences(list(range(20))))
    cuts = {tuple(sorted(following[0] for _, following, _ in windows(one.batches(epoch)))) for epoch in range(40)}
    assert len(cuts) == 5  # history_length + 1 places
    assert all(cut[0] == 0 for cut in cuts)


def test_an_epochs_batches_are_always_the_same_and_epochs_differ() -> None:
    data = sequences(*(list(range(n)) for n in range(5, 25)))
    first, again, other_epoch = (windows(task(data).batches(epoch)) for epoch in (0, 0, 1))
    other_seed = windows(task(data, config=WindowConfig(4, 8, seed=1)).batches(0))
    assert first == again
    assert first not in (other_epoch, other_seed)


def test_nobody_with_items_gives_no_batches() -> None:
    assert task(sequences([], [])).batches(0) == []


def test_loss_is_the_weighted_mean_of_the_cross_entropies() -> None:
    data, weights = sequences([3, 1, 4], [2], [7, 8, 9, 1, 0]), [0.5, 2.0, 0.25]
    one = task(data, weights)
    (batch,) = one.batches(0)
    table = BigramModel().table.double().numpy()
    total = share = 0.0
    for user, weight in enumerate(weights):
        previous, seen = N_ITEMS, list[int]()
        for item in data[user].tolist():
            scores = np.where(np.isin(np.arange(N_ITEMS), seen), -np.inf, table[previous])
            total += weight * (np.log(np.exp(scores).sum()) - scores[item])
            share += weight
            previous = item
            seen.append(item)
    assert float(one.loss(batch)) == pytest.approx(total / share, rel=1e-4)


def test_padding_contributes_nothing_to_the_loss() -> None:
    one = task(sequences([3, 1, 4, 1, 5], [2]))
    (batch,) = one.batches(0)
    changed = {name: value.clone() for name, value in batch.items()}
    changed["tokens"][batch["targets"] == IGNORED] = 17
    assert torch.equal(one.loss(changed), one.loss(batch))


def test_a_users_loss_weighs_as_the_user_does() -> None:
    data = sequences([3, 1, 4], [7, 8, 9])
    losses = [float(one.loss(one.batches(0)[0])) for one in (task(data, w) for w in ([1, 1e-9], [1e-9, 1], [1, 3]))]
    assert losses[2] == pytest.approx(0.25 * losses[0] + 0.75 * losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_weights_are_relative() -> None:
    data = sequences([3, 1, 4], [7, 8, 9])
    losses = [float(one.loss(one.batches(0)[0])) for one in (task(data, [1, 2]), task(data, [10, 20]))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_validation_is_what_was_given() -> None:
    assert task(sequences([1])).validate() == 0.25


def test_scores_are_those_after_the_last_item() -> None:
    model = BigramModel()
    scores = NextItemScorer(model, 3, CPU).scores(sequences([], [5], [1, 2, 3, 4, 5, 6]))
    np.testing.assert_array_equal(scores, model.table[[N_ITEMS, 5, 6]].numpy())


def test_many_histories_are_scored_in_bounded_batches() -> None:
    model = BigramModel()
    histories = sequences(*([n % N_ITEMS] for n in range(150)))
    scores = NextItemScorer(model, 3, CPU).scores(histories)
    np.testing.assert_array_equal(scores, model.table[histories.items].numpy())
    assert model.batch_sizes == [64, 64, 22]


def test_no_histories_no_scores() -> None:
    assert NextItemScorer(BigramModel(), 3, CPU).scores(sequences()).shape == (0, N_ITEMS)


def test_batches_hold_windows_of_about_the_same_length_so_that_little_is_padding() -> None:
    rng = np.random.default_rng(0)
    data = sequences(*([0] * int(length) for length in rng.integers(1, 20, size=400)))
    batches = task(data, config=WindowConfig(history_length=20, batch_size=10, seed=0)).batches(0)
    places = sum(batch["tokens"].numel() for batch in batches)
    padding = sum(int((batch["targets"] == IGNORED).sum()) for batch in batches)
    assert padding < 0.1 * places
    longest = [batch["tokens"].shape[1] for batch in batches]
    assert longest != sorted(longest)  # and come in random order


def test_scores_come_back_in_the_order_of_the_histories() -> None:
    model = BigramModel()
    scorer = NextItemScorer(model, history_length=9, device=CPU)
    histories = sequences([1, 2, 3], [4], [5, 6, 7, 8], [], [9, 1])
    expected = model.table[[3, 4, 8, N_ITEMS, 1]]
    np.testing.assert_array_equal(scorer.scores(histories), expected.numpy())
