"""Choosing how lists are fused, on validation examples: every method with every k, then who else votes and how much.

One scoring pass serves all that is tried (``models.ranking.answers``). Of many examples some are drawn, always the
same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.config import option
from models.contract.fusion import FusionMethod
from models.contract.selection import MAX_VOTER_WEIGHT, FusionSettings, ServedVoter
from models.contract.types import Ints
from models.evaluation.metrics import ndcg, ranks_in_lists
from models.ranking.answers import Answers
from models.ranking.recommend import recommend_all
from models.ranking.system import LocalSystem

DAMPED = (FusionMethod.RRF, FusionMethod.WRRF_CF, FusionMethod.WRRF_LLM)  # the methods that k matters to
ROUNDS = 3  # at most, of the search along one weight after the other
CUTOFF = 10
EXAMPLES = 5_000  # at most that settings are tried on: a hundred settings take minutes with these

Value = Callable[[FusionSettings], float]


@dataclass(frozen=True)
class ServingConfig:
    """Fusion settings that are tried on validation examples; the best become the bundle's."""

    candidates: int = option(100, "Items asked of each voter", low=10, high=1000)
    dampings: tuple[float, ...] = option((0.0, 10.0, 40.0, 100.0), "Values of k of equations 5 and 6 tried", low=0)
    voters: tuple[ServedVoter, ...] = option(
        ("global", "cf"), "Who may vote beside the communities; each request asks the global adapter once more for it"
    )
    voter_weights: tuple[float, ...] = option(
        (0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
        "Weights tried of another voter; 1 is as much as a user's communities together",
        low=0,
        high=MAX_VOTER_WEIGHT,
    )


@dataclass(frozen=True)
class Tried:
    """Fusion settings and the NDCG@10 that they gave on validation examples."""

    settings: FusionSettings
    ndcg: float


def try_fusions(
    system: LocalSystem,
    answers: Answers,
    targets: Ints,
    config: ServingConfig,
    voters: Sequence[str] | None = None,
) -> list[Tried]:
    """NDCG@10 of all fusion settings that are worth a try.

    First the communities alone, by every method with every k. Then, from the best method that counts ranks and from
    the fusion of scores, the weights of the other voters and k, one after the other, as long as NDCG@10 rises.

    Args:
        system: what the answers came from.
        answers: the voters' answers for validation examples.
        targets: (n,) the examples' targets.
        config: what is tried.
        voters: names of the other voters, some of the answers' own; None: those of the configuration, which are the
            ones that the service can ask.

    Returns:
        What was tried, in that order, each settings once.
    """
    tried: dict[FusionSettings, float] = {}
    rows = _drawn(len(answers))
    prepared, targets = [answers[row] for row in rows.tolist()], targets[rows]  # once for all that is tried

    def value(settings: FusionSettings) -> float:
        if settings not in tried:
            lists = recommend_all(system, prepared, settings, CUTOFF)
            tried[settings] = float(ndcg(ranks_in_lists(lists, targets), CUTOFF).mean()) if len(targets) else 0.0
        return tried[settings]

    alone = list(_communities_alone(config))
    for settings in alone:
        value(settings)
    by_rank = max((s for s in alone if s.method in DAMPED), key=value)
    by_score = next(s for s in alone if s.method is FusionMethod.SCORES)
    for start in (by_rank, by_score):
        _climb(start, value, config, config.voters if voters is None else voters)
    return [Tried(settings, ndcg) for settings, ndcg in tried.items()]


def best_fusion(tried: Sequence[Tried], method: FusionMethod | None = None) -> FusionSettings:
    """The settings with the highest NDCG@10; of equals the one that was tried first.

    Args:
        tried: see :func:`try_fusions`.
        method: only the communities alone, fused by this method; None: whatever is best.
    """
    among = [t for t in tried if method is None or (t.settings.method is method and not t.settings.others)]
    return max(among, key=lambda t: t.ndcg).settings


def leaders(tried: Sequence[Tried]) -> list[Tried]:
    """What a person wants to know: every method's best with the communities alone, and the best of all."""
    chosen = [*(best_fusion(tried, method) for method in FusionMethod), best_fusion(tried)]
    by_settings = {t.settings: t for t in tried}
    return [by_settings[settings] for settings in dict.fromkeys(chosen)]


def in_words(settings: FusionSettings) -> str:
    """The settings on one line, such as ``rrf, k = 10, cf 0.5``."""
    damping = [f"k = {settings.k:g}"] if settings.method in DAMPED else []
    return ", ".join([settings.method, *damping, *(f"{name} {weight:g}" for name, weight in settings.others)])


def _drawn(n: int) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(0).permutation(n)[:EXAMPLES])


def _communities_alone(config: ServingConfig) -> Iterator[FusionSettings]:
    for method in FusionMethod:
        for k in config.dampings if method in DAMPED else (0.0,):
            yield FusionSettings(method, k, config.candidates)


def _climb(start: FusionSettings, value: Value, config: ServingConfig, voters: Sequence[str]) -> None:
    """Coordinate ascent: each voter's weight, then k, until a round changes nothing."""
    best = start
    for _ in range(ROUNDS):
        before = best
        for voter in voters:
            best = max([best, *(_weighted(best, voter, w) for w in config.voter_weights)], key=value)
        if best.method in DAMPED:
            best = max([best, *(replace(best, k=k) for k in config.dampings)], key=value)
        if best == before:
            return


def _weighted(settings: FusionSettings, voter: str, weight: float) -> FusionSettings:
    """The settings with one voter's weight replaced; voters without weight are not named."""
    weights = dict(settings.others) | {voter: weight}
    return replace(settings, others=tuple(sorted((name, w) for name, w in weights.items() if w > 0)))
