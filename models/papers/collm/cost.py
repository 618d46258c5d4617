"""What a prediction costs (Table VI): models score the same pairs in turns, so that a busy machine is so for all."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.papers.collm.model import CoLLM
from models.papers.collm.task import scores_of
from models.papers.collm.tuning import Inputs
from models.training.device import training_device

ROUNDS = 5


@dataclass(frozen=True)
class ScoringCost:
    """Of one model: tokens of a prompt, mean, and seconds of the process for a pair, median of the rounds."""

    tokens: float
    seconds: float


def scoring_costs(models: Mapping[str, CoLLM], inputs: Inputs, n_pairs: int) -> dict[str, ScoringCost]:
    """Time the scoring of at most ``n_pairs`` test pairs by each model, after one round that does not count."""
    device = training_device()
    pairs = {name: inputs.prompted(inputs.data.test, model).sample(n_pairs, 0) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(1 + ROUNDS):
        for name, model in models.items():
            started = time.process_time()
            scores_of(model, pairs[name], device)
            seconds[name].append((time.process_time() - started) / len(pairs[name]))
    return {
        name: ScoringCost(float(pairs[name].lengths().mean()), float(np.median(seconds[name][1:]))) for name in models
    }
