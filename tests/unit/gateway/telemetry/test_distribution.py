"""What is read of a distribution is what is read of prometheus_client's own histogram."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service.gateway.telemetry.distribution import Distribution
from service.gateway.telemetry.series import LATENCY_BUCKETS
from service.gateway.telemetry.telemetry import WIDTH_BUCKETS


def test_reads_as_a_histogram():
    for bounds in (LATENCY_BUCKETS, WIDTH_BUCKETS):
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        distribution = Distribution("x", "About x", ("a", "b"), bounds, ours)
        histogram = Histogram("x", "About x", ("a", "b"), buckets=bounds, registry=theirs)
        for at, amount in enumerate([0, *bounds, 0.0042, 7, 1e9, float("inf")]):
            values = ("one", "" if at % 2 else 'a"b')
            distribution.observe(values, amount)
            histogram.labels(*values).observe(amount)
        assert lines(ours) == lines(theirs)


def test_what_was_never_observed_is_described():
    registry = CollectorRegistry()
    Distribution("x", "About x", ("a",), WIDTH_BUCKETS, registry)
    assert lines(registry) == ["# HELP x About x", "# TYPE x histogram"]


def lines(registry: CollectorRegistry) -> list[str]:
    """All but the instants at which prometheus_client's own were made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "x_created" not in line]
