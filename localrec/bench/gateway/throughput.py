"""Requests a second of the `cf` path and of the cached one, against the bare service of the reference.

The three take turns, so that the ratios do not hang on what else the machine does.
"""

from collections.abc import Sequence

import numpy as np

from localrec.bench.gateway.bed import Bed, metric
from localrec.bench.load import LoadResult


def measure(bed: Bed, reference_port: int, port: int) -> dict[str, float]:
    """Medians over the rounds, the first left out.

    Args:
        bed: where to measure.
        reference_port: of the bare service.
        port: of a gateway with pipeline `cf`.
    """
    reference, cf, cached = list[LoadResult](), list[LoadResult](), list[LoadResult]()
    uncached, again = bed.bodies(use_cache=False), bed.bodies(bed.users[: bed.options.cached_users])
    for _ in range(bed.options.rounds):
        reference.append(bed.closed(reference_port, bed.bodies()))
        cf.append(bed.closed(port, uncached))
        cached.append(bed.closed(port, again))
    return {
        "reference_requests_per_second": _rate(reference),
        "cf_requests_per_second": _rate(cf),
        "cf_over_reference": ratio(cf, reference),
        "cached_requests_per_second": _rate(cached),
        "cached_over_reference": ratio(cached, reference),
        "cf_p50_ms": float(np.median([result.percentile(50) for result in cf[1:]])),
        "cf_p99_ms": float(np.median([result.percentile(99) for result in cf[1:]])),
        "cf_degraded": metric(port, "localrec_degraded_total"),
        "failures": float(sum(result.failures + result.refused for result in reference + cf + cached)),
        "gateway_memory_mib": metric(port, "process_resident_memory_bytes") / 2**20,
    }


def ratio(measured: Sequence[LoadResult], reference: Sequence[LoadResult]) -> float:
    """Median over the rounds of how many times the reference's throughput was reached, the first left out."""
    pairs = zip(measured[1:], reference[1:], strict=True)
    return float(np.median([m.requests_per_second / r.requests_per_second for m, r in pairs]))


def _rate(results: Sequence[LoadResult]) -> float:
    return float(np.median([result.requests_per_second for result in results[1:]]))
