"""How the gateway's metrics are made: their prefix, their registry, their children."""

from typing import TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.gateway.telemetry.distribution import Distribution

LATENCY_BUCKETS = (
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    1.0,
    2.0,
)
M = TypeVar("M", bound=Counter | Gauge | Histogram)


class Children(dict[tuple[str, ...], M]):
    """Children of a metric by their label values. ``labels()`` is slow, so they are looked up once and kept."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, values: tuple[str, ...]) -> M:
        child = self[values] = cast(M, self._metric.labels(*values))
        return child


class Series:
    """Makes metrics in one registry.

    Args:
        registry: what they are read through.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, labels: tuple[str, ...], *known: tuple[str, ...]) -> Children[Counter]:
        """A counter. Label values that are ``known`` count from 0: an increase from nothing to 1 would be none."""
        children = Children(Counter(f"localrec_{name}", text, labels, registry=self._registry))
        for values in known:
            children[values].inc(0)
        return children

    def gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """A gauge."""
        return Gauge(f"localrec_{name}", text, labels, registry=self._registry)

    def histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Children[Histogram]:
        """A histogram of what is rare."""
        return Children(Histogram(f"localrec_{name}", text, labels, buckets=buckets, registry=self._registry))

    def distribution(self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> Distribution:
        """A histogram of what every request observes."""
        return Distribution(f"localrec_{name}", text, labels, bounds, self._registry)
