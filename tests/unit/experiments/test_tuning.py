"""The search for a baseline's settings."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.checkerboard import as_dataset, checkerboard

from models.cf.baselines import Baseline, TrainingData
from models.cf.training import Progress, silent
from models.config import option
from models.contract.errors import ConfigError
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.experiments.tuning import Trial, best_trial, configurations, run_trials, search_space
from models.training.divergence import TrainingError
from models.types import Examples, Score


@dataclass(frozen=True)
class Knobs:
    size: int = option(3, "Size", low=1, search=(1, 2, 3))
    rates: tuple[float, ...] = option((0.5,), "Rates", search=((0.5,), (0.25,)))
    seed: int = option(0, "Seed")


class Model:
    """Ranks each target first, second, … : the larger the size, the worse. Counts its trainings."""

    def __init__(self) -> None:
        self.trained: list[Knobs] = []

    def train(self, data: TrainingData, config: Knobs, progress: Progress) -> Score:
        self.trained.append(config)
        if config.size > 3:
            raise TrainingError("the loss is nan")
        progress(1, 0.0)

        def score(examples: Examples) -> Floats:
            scores = np.tile(np.arange(data.n_items, dtype=np.float32), (len(examples), 1))
            scores[np.arange(len(examples)), examples.targets] = 100.0 ** (2 - config.size)
            return scores

        return score


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tuning" / "knobs.jsonl"


@contextmanager
def open_progress(config: Any) -> Iterator[Progress]:
    yield silent


def run(model: Model, file: Path, configs: list[Knobs], version: int = 1, data: str = "d") -> list[Trial]:
    baseline = Baseline("Model", "knobs", version, model.train)
    data_set = TrainingData(as_dataset(checkerboard(n_users=6, n_items=8)))
    return list(run_trials(baseline, data_set, data, configs, file, open_progress))


class TestConfigurations:
    def test_the_space_is_what_the_fields_say(self) -> None:
        assert search_space(Knobs) == {"size": (1, 2, 3), "rates": ((0.5,), (0.25,))}

    def test_a_small_space_is_tried_whole_the_current_settings_first(self) -> None:
        tried = configurations(Knobs(seed=7), "knobs", 20, seed=0)
        assert tried[0] == Knobs(seed=7)
        assert len(tried) == len(set(tried)) == 6
        assert all(config.seed == 7 for config in tried)

    def test_settings_outside_the_space_are_tried_too(self) -> None:
        tried = configurations(Knobs(size=9), "knobs", 20, seed=0)
        assert tried[0] == Knobs(size=9)
        assert len(tried) == 7

    def test_a_seed_draws_the_same_and_more_trials_continue_fewer(self) -> None:
        few, more = (configurations(Knobs(), "knobs", n, seed=3) for n in (3, 5))
        assert (len(few), len(more)) == (3, 5)
        assert more[:3] == few
        assert len(set(more)) == 5

    def test_seeds_differ(self) -> None:
        assert len({tuple(configurations(Knobs(), "knobs", 3, seed)) for seed in range(8)}) > 1

    def test_one_trial_is_the_current_settings(self) -> None:
        assert configurations(Knobs(), "knobs", 1, seed=0) == [Knobs()]

    def test_no_trial_is_an_error(self) -> None:
        with pytest.raises(ConfigError, match="trials: 0"):
            configurations(Knobs(), "knobs", 0, seed=0)


class TestTrials:
    def test_the_best_on_validation_wins(self, model: Model, file: Path) -> None:
        trials = run(model, file, [Knobs(size=3), Knobs(size=1), Knobs(size=2)])
        assert best_trial(trials).config == {"size": 1, "rates": [0.5], "seed": 0}
        assert best_trial(trials).ndcg == 1.0
        assert trials[0].ndcg < 1.0

    def test_of_equals_the_first_wins(self, model: Model, file: Path) -> None:
        trials = run(model, file, [Knobs(size=1), Knobs(size=1, rates=(0.25,))])
        assert best_trial(trials) is trials[0]

    def test_settings_that_diverge_do_not_end_the_search(self, model: Model, file: Path) -> None:
        trials = run(model, file, [Knobs(size=4), Knobs(size=3)])
        assert trials[0].ndcg == 0.0
        assert best_trial(trials) is trials[1]

    def test_what_was_tried_is_not_trained_again(self, model: Model, file: Path) -> None:
        first = run(model, file, [Knobs(size=1), Knobs(size=2)])
        again = run(model, file, [Knobs(size=1), Knobs(size=2), Knobs(size=3)])
        assert again[:2] == first
        assert model.trained == [Knobs(size=1), Knobs(size=2), Knobs(size=3)]

    @pytest.mark.parametrize("changed", [{"version": 2}, {"data": "other"}])
    def test_other_code_or_data_are_other_trials(self, model: Model, file: Path, changed: dict[str, Any]) -> None:
        run(model, file, [Knobs()])
        run(model, file, [Knobs()], **changed)
        assert len(model.trained) == 2

    def test_a_search_goes_on_after_a_line_that_was_cut_off(self, model: Model, file: Path) -> None:
        run(model, file, [Knobs(size=1), Knobs(size=2)])
        file.write_bytes(file.read_bytes()[:-20])
        run(model, file, [Knobs(size=1), Knobs(size=2)])
        run(model, file, [Knobs(size=1), Knobs(size=2)])
        assert model.trained == [Knobs(size=1), Knobs(size=2), Knobs(size=2)]

    def test_an_interrupted_search_keeps_what_it_did(self, model: Model, file: Path) -> None:
        baseline = Baseline("Model", "knobs", 1, model.train)
        data_set = TrainingData(as_dataset(checkerboard(n_users=6, n_items=8)))
        search = run_trials(baseline, data_set, "d", [Knobs(size=1), Knobs(size=2)], file, open_progress)
        next(search)
        search.close()
        run(model, file, [Knobs(size=1), Knobs(size=2)])
        assert model.trained == [Knobs(size=1), Knobs(size=2)]

    def test_test_examples_are_never_read(self, model: Model, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        examples = Dataset.examples

        def spy(dataset: Dataset, split: Any) -> Examples:
            asked.append(split)
            return examples(dataset, split)

        monkeypatch.setattr(Dataset, "examples", spy)
        run(model, file, [dataclasses.replace(Knobs(), size=2)])
        assert set(asked) == {"valid"}
