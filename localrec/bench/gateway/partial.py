"""What a list is worth when a community's answer does not come in time: NDCG@10 from a finished run. Extra: train."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localrec.run_directory import run_of
from models.contract.errors import LocalRecError
from models.contract.selection import FusionSettings
from models.contract.types import Ints
from models.evaluation.metrics import ndcg, ranks_in_lists
from models.ranking.answers import Answer, Answers
from models.ranking.recommend import recommend
from models.ranking.system import LocalSystem
from models.results import Results

CUTOFF = 10


def measure(run: Path) -> dict[str, float]:
    """NDCG@10 on the test examples of all voters' fusion, and with each community in turn left out.

    Args:
        run: directory of a finished run, test rankings included.

    Raises:
        LocalRecError: it has none.
    """
    if not (run / "rankings" / "test").exists():
        raise LocalRecError(f"{run}: no rankings of test examples; make them with localrec evaluate --run {run}")
    results = Results(run, run_of(run))
    targets = results.examples("test").targets
    return partial_fusion(results.system(), results.answers("test"), targets, results.fusion_settings())


def partial_fusion(system: LocalSystem, answers: Answers, targets: Ints, settings: FusionSettings) -> dict[str, float]:
    """The same for some answers.

    Of a community that is late, the users who belong to it suffer. So beside the mean over everybody there is that over
    each community's members, and the community that is missed most counts.
    """
    full = _values(system, list(answers), targets, settings)
    dropped, members = [], []
    for name, part in _without_each(answers):
        values = _values(system, part, targets, settings)
        belongs = np.asarray([any(voter.name == name for voter in answer.voters) for answer in answers])
        dropped.append(float(values.mean()))
        members.append(float(values[belongs].mean() / full[belongs].mean()) if full[belongs].any() else 1.0)
    return {
        "partial_full_ndcg": float(full.mean()),
        "partial_mean_ndcg": float(np.mean(dropped)),
        "partial_worst_ndcg": min(dropped),
        "partial_mean_over_full": float(np.mean(dropped) / full.mean()),
        "partial_worst_over_full": float(min(dropped) / full.mean()),
        "partial_members_mean_over_full": float(np.mean(members)),
        "partial_members_worst_over_full": min(members),
    }


def _without_each(answers: Answers) -> Iterator[tuple[str, list[Answer]]]:
    for name in answers.communities:
        yield name, [_without(answer, name) for answer in answers]


def _without(answer: Answer, name: str) -> Answer:
    return replace(answer, voters=tuple(voter for voter in answer.voters if voter.name != name))


def _values(system: LocalSystem, answers: list[Answer], targets: Ints, settings: FusionSettings) -> NDArray[np.float64]:
    """NDCG@10 of each example. Where no community is left, the CF model serves, as in the gateway."""
    lists = np.full((len(answers), CUTOFF), -1, np.int32)
    for row, answer in enumerate(answers):
        heard = answer if any(voter.membership for voter in answer.voters) else replace(answer, voters=())
        items = recommend(system, heard, settings, CUTOFF)
        lists[row, : len(items)] = items
    return ndcg(ranks_in_lists(lists, targets), CUTOFF)
