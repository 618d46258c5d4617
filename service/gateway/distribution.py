"""Histograms of what every request observes several times: prometheus_client's would cost five times as much."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily


class Distribution:
    """A histogram by label values, without locks: for one thread, which also reads the metrics.

    Args:
        name, text, labels: as of any metric.
        bounds: upper bounds of the buckets, rising; infinity is added.
        registry: what it is read through.
    """

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._described = name, text, list(labels)
        self._bounds = bounds
        self._names = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._seen: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}
        registry.register(self)

    def observe(self, values: tuple[str, ...], amount: float) -> None:
        """Count an amount under these label values."""
        seen = self._seen.get(values)
        if seen is None:
            seen = self._seen[values] = [0] * len(self._names), [0.0]
        counts, total = seen
        counts[bisect_left(self._bounds, amount)] += 1
        total[0] += amount

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What prometheus_client asks for when metrics are read."""
        name, text, labels = self._described
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, (counts, (total,)) in self._seen.items():
            family.add_metric(values, list(zip(self._names, accumulate(counts), strict=True)), total)
        yield family
