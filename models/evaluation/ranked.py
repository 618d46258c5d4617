"""What a row of a study answered to the test examples, kept as one file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from safetensors.numpy import load_file, save_file

from models.contract.types import Floats, Ints
from models.evaluation.measure import LIST_LENGTH
from models.evaluation.metrics import Ranks, rank_scores, ranks_of_targets
from models.types import Examples, Score, chunks_of


@dataclass(frozen=True)
class RankedRow:
    """What a row answered to n examples.

    Args:
        lists: (n, 20) int32, the first places.
        ranks: (n,) of the targets, in the whole catalogue less the history.
    """

    lists: Ints
    ranks: Ranks


class Named(Protocol):
    """A row of a study's tables."""

    @property
    def name(self) -> str:
        """As the tables have it."""
        ...


R = TypeVar("R", bound=Named)


def rank(scores: Floats, examples: Examples) -> RankedRow:
    """The answer that (n, n_items) scores of n examples are."""
    lists = rank_scores(scores, examples.histories, LIST_LENGTH)
    return RankedRow(lists, ranks_of_targets(scores, examples.targets, examples.histories))


def ranked_by(score: Score, examples: Examples) -> list[RankedRow]:
    """What a model answers to examples, in parts."""
    batches = (examples.take(rows) for rows in chunks_of(np.arange(len(examples))))
    return [rank(score(batch), batch) for batch in batches]


def save_ranked(parts: Sequence[RankedRow], path: Path) -> None:
    """Write the answers to examples that were ranked in parts."""
    lists, ranks = [part.lists for part in parts], [part.ranks for part in parts]
    save_file({"lists": np.concatenate(lists), "ranks": np.concatenate(ranks)}, path)


def load_ranked(path: Path) -> RankedRow:
    """Read what :func:`save_ranked` has written."""
    found = load_file(path)
    return RankedRow(found["lists"], found["ranks"])


def ranked_rows(
    ranked: Callable[[R, int], RankedRow], rows: Sequence[R], seeds: Sequence[int]
) -> dict[str, list[RankedRow]]:
    """What rows answer, by name, one a seed; seed by seed, so that what is interrupted has all rows of some seeds."""
    found: dict[str, list[RankedRow]] = {row.name: [] for row in rows}
    for seed in seeds:
        for row in rows:
            found[row.name].append(ranked(row, seed))
    return found


def lists_by_seed(rows: Mapping[str, Sequence[RankedRow]]) -> list[dict[str, Ints]]:
    """The lists of :func:`ranked_rows` by row, one mapping a seed. There is a row at least."""
    n_seeds = len(next(iter(rows.values())))
    return [{name: found[number].lists for name, found in rows.items()} for number in range(n_seeds)]
