"""The evaluation table: HR and NDCG of served lists on held-out items, with 95 % bootstrap intervals.

Every model ends as ranked lists over the full catalogue, and lists are what is measured: an item that would not be
shown is a miss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.config import option
from models.contract.types import Ints
from models.metrics import Interval, bootstrap, hit_rate, ndcg, paired_bootstrap, ranks_in_lists


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured."""

    cutoffs: tuple[int, ...] = option((5, 10), "Lengths at which HR and NDCG are cut off.", low=1)
    seed: int = option(0, "Seed of the bootstrap.", low=0)


@dataclass(frozen=True)
class Row:
    """One model's line of the table: metric name → mean with its interval."""

    name: str
    metrics: dict[str, Interval]


def evaluate_lists(name: str, lists: Ints, targets: Ints, config: EvaluateConfig) -> Row:
    """HR and NDCG at every cutoff with 95 % bootstrap intervals, from served lists (n, length)."""
    ranks = ranks_in_lists(lists, targets)
    metrics = {}
    for cutoff in config.cutoffs:
        metrics[f"HR@{cutoff}"] = bootstrap(hit_rate(ranks, cutoff), config.seed)
        metrics[f"NDCG@{cutoff}"] = bootstrap(ndcg(ranks, cutoff), config.seed)
    return Row(name, metrics)


def difference_text(name: str, baseline: str, lists: Mapping[str, Ints], targets: Ints, config: EvaluateConfig) -> str:
    """One line: is ``name`` better than ``baseline`` on the same examples, in NDCG at the largest cutoff?"""
    cutoff = max(config.cutoffs)
    values = [ndcg(ranks_in_lists(lists[model], targets), cutoff) for model in (name, baseline)]
    difference = paired_bootstrap(values[0], values[1], config.seed)
    mean, low, high = difference.interval.mean, difference.interval.low, difference.interval.high
    return f"{name} - {baseline}: NDCG@{cutoff} {mean:+.4f} [{low:+.4f}, {high:+.4f}], p = {difference.p_value:.3f}"


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The table for a file."""
    return [
        {"model": row.name} | {name: {"mean": v.mean, "low": v.low, "high": v.high} for name, v in row.metrics.items()}
        for row in rows
    ]


def as_text(rows: Sequence[Row]) -> str:
    """The table for a terminal: mean and 95 % interval."""
    if not rows:
        return ""
    names = list(rows[0].metrics)
    width = max(len(row.name) for row in rows)
    header = f"{'':{width}}  " + "  ".join(f"{name:^23}" for name in names)
    lines = [
        f"{row.name:{width}}  "
        + "  ".join(f"{row.metrics[m].mean:.4f} [{row.metrics[m].low:.4f}, {row.metrics[m].high:.4f}]" for m in names)
        for row in rows
    ]
    return "\n".join([header, *lines])
