"""Shares of the tasks."""

from dataclasses import replace

import numpy as np
import pytest

from models.contract.errors import ConfigError, DataError
from models.papers.ulmrec.config import TASKS, ULMRecConfig
from models.papers.ulmrec.mixture import Mixture

SAMPLES = {task: np.arange(5) + 100 * number for number, task in enumerate(TASKS)}
CONFIG = ULMRecConfig(task_weights=(2.0, 1.0, 0.0, 1.0, 0.0, 0.0), steps=10, batch_size=4)


def test_tasks_have_their_shares_in_passes_over_their_samples() -> None:
    mixture = Mixture.of_tasks(CONFIG, SAMPLES)
    assert mixture.tasks == ("next-item", "index-preference", "history-index")
    assert np.bincount(mixture.of).tolist() == [20, 10, 10]
    for number, task in enumerate(mixture.tasks):
        drawn = mixture.samples[mixture.of == number]
        assert sorted(drawn) == sorted([*SAMPLES[task]] * (len(drawn) // 5))


def test_they_are_shuffled_by_the_seed() -> None:
    mixture, again = (Mixture.of_tasks(CONFIG, SAMPLES) for _ in range(2))
    assert (mixture.of == again.of).all()
    assert (mixture.samples == again.samples).all()
    assert (np.diff(mixture.of) < 0).any()
    assert (Mixture.of_tasks(replace(CONFIG, seed=1), SAMPLES).of != mixture.of).any()


def test_tasks_without_samples_are_left_out_and_told() -> None:
    without = SAMPLES | {"index-preference": np.empty(0, np.int64)}
    mixture = Mixture.of_tasks(CONFIG, without)
    assert mixture.left_out == ("index-preference",)
    assert np.bincount(mixture.of).tolist() == [27, 13]


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(DataError, match="no data for next-item, index-preference, history-index"):
        Mixture.of_tasks(CONFIG, {task: np.empty(0, np.int64) for task in TASKS})


@pytest.mark.parametrize(
    ("weights", "message"), [((1.0, 2.0), "task_weights: 2 numbers; expected 6"), ((0.0,) * 6, "all are 0")]
)
def test_weights_are_one_a_task(weights: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ULMRecConfig(task_weights=weights)
