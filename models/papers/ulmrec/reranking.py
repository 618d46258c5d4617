"""LlamaRec's protocol in numbers: where targets end up when a retriever's candidates are ranked again.

Everything is a rank (n,) of each test user's target: 1 for the first place, infinity where the retriever has not found
it. *Overall* metrics are over all users, so a target that was not retrieved is a miss; *rank* metrics are over those
alone whose target was (Table 2 of the paper).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.contract.types import Floats, Ints
from models.evaluation.metrics import Ranks, hit_rate, mrr, ndcg
from models.papers.ulmrec.data import Candidates
from models.papers.ulmrec.tuning import candidate_ranks
from models.types import Examples, Sequences

CUTOFFS = (5, 10)
METRICS: Mapping[str, Callable[[Ranks, int], Ranks]] = MappingProxyType({"M": mrr, "N": ndcg, "R": hit_rate})
"""MRR, NDCG and Recall, as the paper's tables call them."""
NAMES = tuple(f"{name}@{n}" for n in CUTOFFS for name in METRICS)
WEIGHTS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # of a retriever's vote that are tried


def candidates_of(lists: Ints, targets: Ints, m: int) -> Candidates:
    """The first ``m`` of each list, of those examples whose target is among them.

    Args:
        lists: (n, r) item numbers, best first, r at least ``m``; -1 where none remain.
        targets: (n,) item numbers.
        m: candidates of an example.
    """
    items = lists[:, :m]
    rows = np.flatnonzero((items == targets[:, None]).any(axis=1)).astype(np.int64)
    return Candidates(rows, items[rows])


@dataclass(frozen=True)
class Asked:
    """Examples whose target was retrieved, and what was.

    Args:
        examples: k of them.
        items: (k, m) their candidates, the target among them.
    """

    examples: Examples
    items: Ints

    @classmethod
    def of(cls, examples: Examples, candidates: Candidates) -> Self:
        """From all examples that the candidates' rows are of."""
        return cls(examples.take(candidates.rows), candidates.items)

    def first(self, n: int) -> Self:
        """At most ``n`` of them."""
        rows = np.arange(min(n, len(self.items)))
        return type(self)(self.examples.take(rows), self.items[rows])

    def ranks(self, scores: Floats) -> Ranks:
        """(k,) ranks of the targets by (k, m) scores, equal scores in the retriever's order."""
        return candidate_ranks(scores, self.items, self.examples.targets)


def sampled(candidates: Candidates, n: int, seed: int) -> Candidates:
    """At most ``n`` of them, drawn, in their order."""
    if len(candidates) <= n:
        return candidates
    kept = np.sort(np.random.default_rng(seed).choice(len(candidates), n, replace=False))
    return Candidates(candidates.rows[kept], candidates.items[kept])


def everybodys(values: Ranks, rows: NDArray[np.int64], n: int, missed: float) -> Ranks:
    """(n,) values of all users, from those (k,) of the users in ``rows``; ``missed`` of the others, not retrieved."""
    everybody = np.full(n, missed)
    everybody[rows] = values
    return everybody


def metrics_of(ranks: Ranks) -> dict[str, Ranks]:
    """Every metric of every user (n,), by name: ``M@5`` …"""
    return {f"{name}@{n}": metric(ranks, n) for n in CUTOFFS for name, metric in METRICS.items()}


def by_chance(items: Ints) -> dict[str, Ranks]:
    """Every metric (k,) that a random order of the candidates (k, m) has on average."""
    n_candidates = (items >= 0).sum(axis=1)
    expected = {int(n): metrics_of(np.arange(1.0, n + 1.0)) for n in np.unique(n_candidates)}
    return {name: np.asarray([expected[int(n)][name].mean() for n in n_candidates]) for name in NAMES}


def with_retriever(scores: Floats, weight: float) -> Floats:
    """(k, m) log probabilities of the letters, less ``weight`` times the log of the retriever's place.

    An addition to the paper: there, the retriever's order is forgotten.
    """
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    fused = log_probabilities - weight * np.log(np.arange(1, scores.shape[1] + 1))
    return np.asarray(fused, np.float32)


def best_weight(scores: Floats, asked: Asked) -> float:
    """The weight of ``WEIGHTS`` with the best NDCG@10 on validation candidates; of equals the smallest."""
    return max(WEIGHTS, key=lambda weight: float(ndcg(asked.ranks(with_retriever(scores, weight)), 10).mean()))


def without_history(examples: Examples) -> Sequences:
    """As many empty histories (Table 4)."""
    return Sequences.of([np.empty(0, np.int32)] * len(examples))


def others(users: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(k,) users of the same ones, drawn so that nobody keeps the own place: whose index a control shows."""
    order = np.random.default_rng(seed).permutation(len(users))
    shown = np.empty_like(users)
    shown[order] = users[np.roll(order, 1)]
    return shown
