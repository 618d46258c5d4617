"""Targets of a benchmark: what a metric should reach, and whether it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A metric, its bound, and on which side of it is well."""

    metric: str
    bound: float
    at_least: bool
    words: str

    def reached(self, metrics: Mapping[str, float]) -> bool | None:
        """Whether it is well; None where it was not measured."""
        value = metrics.get(self.metric)
        if value is None:
            return None
        return value >= self.bound if self.at_least else value <= self.bound

    def verdict(self, metrics: Mapping[str, float]) -> str:
        """A line of the table; a metric that was not measured is said to be so."""
        reached = self.reached(metrics)
        if reached is None:
            return f"{'not run':>8}  {self._limit:>8}  {'':>7}  {self.words}"
        return f"{metrics[self.metric]:8.2f}  {self._limit:>8}  {'reached' if reached else 'MISSED':>7}  {self.words}"

    def record(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """The same for a machine."""
        measured, reached = metrics.get(self.metric), self.reached(metrics)
        return {"what": self.words, "target": self._limit, "measured": measured, "reached": reached}

    @property
    def _limit(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


def print_targets(targets: Sequence[Target], metrics: Mapping[str, float]) -> None:
    """The table of targets."""
    print("\nmeasured   target   verdict  what")
    for target in targets:
        print(target.verdict(metrics))
