"""Which task each training prompt is of: shares of section 4.2, shuffled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.contract.errors import DataError
from models.papers.ulmrec.config import TASKS, Task, ULMRecConfig


@dataclass(frozen=True)
class Mixture:
    """All prompts of a training, in its order.

    Args:
        tasks: those that have prompts.
        of: (n,) place in ``tasks``.
        samples: (n,) which of the task's samples.
        left_out: tasks that are asked for and have no samples: their data are missing.
    """

    tasks: tuple[Task, ...]
    of: NDArray[np.int64]
    samples: NDArray[np.int64]
    left_out: tuple[Task, ...]

    @classmethod
    def of_tasks(cls, config: ULMRecConfig, samples: Mapping[Task, NDArray[np.int64]]) -> Self:
        """Draw ``steps`` x ``batch_size`` prompts, each task's in passes over its samples.

        Raises:
            DataError: no task that is asked for has samples.
        """
        weights = {task: weight for task, weight in zip(TASKS, config.task_weights, strict=True) if weight > 0}
        left_out = tuple(task for task in weights if not len(samples[task]))
        tasks = tuple(task for task in weights if task not in left_out)
        if not tasks:
            raise DataError(f"ulmrec.task_weights: no data for {', '.join(left_out)}: every user has one item at most")
        n = config.steps * config.batch_size
        counts = _shares(np.asarray([weights[task] for task in tasks]), n)
        rng = np.random.default_rng(config.seed)
        drawn = [_passes(samples[task], count, rng) for task, count in zip(tasks, counts.tolist(), strict=True)]
        order = rng.permutation(n)
        return cls(tasks, np.repeat(np.arange(len(tasks)), counts)[order], np.concatenate(drawn)[order], left_out)


def _shares(weights: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """``n`` divided by weights, in whole numbers, whose sum it is."""
    ends = np.rint(np.cumsum(weights) / weights.sum() * n)
    return np.asarray(np.diff(ends, prepend=0.0), np.int64)


def _passes(samples: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``n`` samples, in passes over all of them, each pass in an order of its own."""
    passes = [rng.permutation(samples) for _ in range(-(-n // len(samples)))]
    return np.concatenate(passes)[:n] if passes else samples[:0]
