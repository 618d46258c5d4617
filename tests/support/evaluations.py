"""An evaluation whose figures are known."""

import numpy as np

from models.contract.types import Ints, item_numbers
from models.evaluation.measure import EvaluateConfig, Evaluation, HeldOut, Protocol, evaluation_of
from models.types import Examples, Sequences

N_ITEMS = 12
TARGET = 7


def lists() -> dict[str, Ints]:
    """Two models and six examples: places of the target 1, 3, 4, none, 2, 2; and for the popular one 3 twice."""
    good = [[7, 1, 2, 3], [1, 2, 7, 3], [1, 2, 3, 7], [1, 2, 3, -1], [4, 7, 5, 6], [5, 7, 4, 6]]
    popular = [[1, 2, 7, 3]] * 2 + [[1, 2, 3, 4]] * 4
    return {"popular": np.asarray(popular, np.int32), "good": np.asarray(good, np.int32)}


def held_out() -> HeldOut:
    """Six users with histories of 1, 2, 3, 4, 5 and 60 items. Item i was met i times in training."""
    histories = Sequences.of([np.zeros(length, np.int32) for length in (1, 2, 3, 4, 5, 60)])
    examples = Examples(np.arange(6), histories, item_numbers([TARGET] * 6))
    return HeldOut(examples, np.arange(N_ITEMS))


def evaluation(cutoffs: tuple[int, ...] = (1, 3), protocol: Protocol = "full") -> Evaluation:
    """The lists above, compared with the popular one."""
    return evaluation_of(
        [lists()],
        held_out(),
        EvaluateConfig(cutoffs=cutoffs),
        dataset="toys",
        protocol=protocol,
        against="popular",
        fusions=[{"good": "rrf, k = 10, cf 0.5"}],
        provenance={"commit": "abc1234", "hardware": "a machine", "command": "localrec evaluate --run runs/toys"},
    )
