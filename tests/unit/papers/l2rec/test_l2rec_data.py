from dataclasses import replace

import numpy as np
import pytest
from support.backbones import walk_dataset
from support.l2rec import random_cf

from models.contract.errors import ConfigError
from models.data.dataset import Dataset
from models.data.splits import TEST, TRAIN, VALID
from models.papers.l2rec.data import L2RecData, user_embeddings
from models.types import Sequences


def of_lengths(*lengths: int) -> L2RecData:
    """Users with train parts of these lengths, their items numbered as they come."""
    items = np.arange(sum(lengths), dtype=np.int32)
    train = Sequences.of(np.split(items, np.cumsum(lengths)[:-1]))
    dataset = walk_dataset()
    made = Dataset(
        tuple(f"u{user}" for user in range(len(lengths))),
        dataset.catalogue,
        train,
        np.zeros(len(items), np.int64),
        np.full(len(items), TRAIN, np.int8),
        np.zeros(len(items), np.bool_),
    )
    return L2RecData(made, random_cf(len(dataset.catalogue)))


def test_a_pass_has_each_users_last_item_and_earlier_ones_but_never_the_first() -> None:
    data = of_lengths(5, 0, 1, 2, 8)
    passes = [data.draw(2, np.random.default_rng(seed)).tolist() for seed in range(40)]
    assert all({4, 7, 15} <= set(places) for places in passes)  # the last of the users that have two items
    assert {len(places) for places in passes} == {3 + 1 + 3}
    drawn = {place for places in passes for place in places}
    assert drawn == {1, 2, 3, 4, 7, 9, 10, 11, 12, 13, 14, 15}


def test_without_prefixes_there_are_the_last_items_alone() -> None:
    assert of_lengths(5, 0, 1, 2, 8).draw(0, np.random.default_rng(0)).tolist() == [4, 7, 15]


def test_an_examples_history_is_what_came_before_its_target() -> None:
    data = of_lengths(5, 0, 1, 2, 8)
    examples = data.examples(np.asarray([2, 7, 15]))
    assert examples.users.tolist() == [0, 3, 4]
    assert examples.targets.tolist() == [2, 7, 15]
    assert [examples.histories[row].tolist() for row in range(3)] == [[0, 1], [6], list(range(8, 15))]


def test_what_is_held_out_is_never_drawn() -> None:
    dataset = walk_dataset()
    data = L2RecData(dataset, random_cf(len(dataset.catalogue)))
    examples = data.examples(data.draw(9, np.random.default_rng(0)))
    assert len(examples) == len(dataset.user_ids) * 5  # six items of train, the first one never
    assert {VALID, TEST}.isdisjoint(dataset.labels[dataset.labels == TRAIN].tolist())
    longest = max(len(examples.histories[row]) for row in range(len(examples)))
    assert longest == 5


def test_a_user_is_the_fold_in_of_all_of_the_history_as_redis_holds_it() -> None:
    cf = random_cf(20)
    history = np.arange(12, dtype=np.int32)
    found = user_embeddings(cf, Sequences.of([history]))[0]
    np.testing.assert_array_equal(found, cf.fold_in(history).astype(np.float16).astype(np.float32))


def test_a_collaborative_model_of_other_items_is_refused() -> None:
    with pytest.raises(ConfigError, match="cf: a model of 3 items; the data set has 20"):
        replace(of_lengths(5), cf=random_cf(3))
