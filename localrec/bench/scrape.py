"""A process' own metrics, read before and after: histograms and counters of what happened in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Self

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from models.contract.errors import LocalRecError
from models.contract.types import Floats

Values = tuple[str, ...]


@dataclass(frozen=True)
class Histogram:
    """How many values lie in each bucket.

    Args:
        bounds: (b,) upper bounds, rising; the last one is infinity.
        counts: (b,) values above the bound before and up to this one.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    @classmethod
    def of(cls, values: Floats, bounds: Sequence[float]) -> Self:
        """Values in the buckets of these bounds."""
        places = np.searchsorted(bounds, values, side="left")
        return cls(tuple(bounds), tuple(np.bincount(places, minlength=len(bounds)).astype(float).tolist()))

    @property
    def count(self) -> float:
        return sum(self.counts)

    def plus(self, other: "Histogram") -> "Histogram":
        """Both together. Raises LocalRecError where the bounds differ."""
        if self.bounds != other.bounds:
            raise LocalRecError(f"histograms with bounds {self.bounds} and {other.bounds} cannot be added")
        return Histogram(self.bounds, tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)))

    def minus(self, other: "Histogram | None") -> "Histogram":
        """What came since the other; all of it where there is none, or the process began anew."""
        if other is None or other.count > self.count:
            return self
        return self.plus(Histogram(other.bounds, tuple(-count for count in other.counts)))

    def bucket(self, q: float) -> tuple[float, float]:
        """Between which bounds the percentile lies: all that the buckets say of it. NaN where there are no values."""
        at = self._bucket_of(q)
        return (np.nan, np.nan) if at is None else (self.bounds[at - 1] if at else 0.0, self.bounds[at])

    def percentile(self, q: float) -> float:
        """Interpolated within its bucket, as Prometheus' ``histogram_quantile`` does; NaN where there are no values."""
        at = self._bucket_of(q)
        if at is None:
            return np.nan
        low, high = self.bucket(q)
        if high == inf:
            return low
        wanted = q / 100 * self.count - sum(self.counts[:at])
        return low + (high - low) * wanted / self.counts[at]

    def _bucket_of(self, q: float) -> int | None:
        if self.count <= 0:
            return None
        reached = np.cumsum(self.counts) >= q / 100 * self.count
        return int(np.argmax(reached & (np.array(self.counts) > 0)))


@dataclass(frozen=True)
class Scrape:
    """The samples of one moment: by name, labels and value."""

    samples: Mapping[str, tuple[tuple[Mapping[str, str], float], ...]]

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of a name with these labels; 0 where there are none."""
        chosen = self.samples.get(name, ())
        return sum(value for own, value in chosen if all(own.get(key) == wanted for key, wanted in labels.items()))

    def has(self, name: str) -> bool:
        """Whether there are samples of a name."""
        return name in self.samples

    def histograms(self, name: str, by: Sequence[str]) -> dict[Values, Histogram]:
        """Histograms by the values of some labels, summed over all others, such as those of the processes."""
        reached: dict[Values, dict[float, float]] = {}
        for labels, value in self.samples.get(f"{name}_bucket", ()):
            counts = reached.setdefault(tuple(labels.get(label, "") for label in by), {})
            bound = float(labels["le"])
            counts[bound] = counts.get(bound, 0.0) + value
        return {values: _histogram(counts) for values, counts in reached.items()}


def parse(text: str) -> Scrape:
    """The samples in Prometheus' text format. Raises LocalRecError where it is none."""
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    except (ValueError, KeyError, IndexError) as exc:
        raise LocalRecError(f"metrics: expected Prometheus' text format: {exc}") from exc
    return Scrape({name: tuple(found) for name, found in samples.items()})


def between(before: Scrape, after: Scrape, name: str, by: Sequence[str]) -> dict[Values, Histogram]:
    """Histograms of what came between two scrapes, by the values of some labels; those of which nothing came are left
    out.
    """
    earlier, later = before.histograms(name, by), after.histograms(name, by)
    came = {values: histogram.minus(earlier.get(values)) for values, histogram in later.items()}
    return {values: histogram for values, histogram in came.items() if histogram.count > 0}


def _histogram(reached: Mapping[float, float]) -> Histogram:
    bounds = tuple(sorted(reached))
    counts = np.diff([0.0, *(reached[bound] for bound in bounds)])
    return Histogram(bounds, tuple(counts.tolist()))
