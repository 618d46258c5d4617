"""``localrec bench gateway``: what the gateway itself costs, and what it does under load; the issue's targets.

Throughput is set beside the bare FastAPI service of :mod:`localrec.bench.reference`, in one run and in turns. Workers
are stubs, so that what is measured is the gateway's own.
"""

from collections.abc import Mapping
from typing import Any

from localrec.bench.gateway import late, own_time, rates, throughput
from localrec.bench.gateway.bed import standing_bed
from localrec.bench.gateway.options import GatewayBenchOptions
from localrec.bench.gateway.targets import TARGETS
from localrec.bench.report import report
from localrec.bench.targets import print_targets

__all__ = ["GatewayBenchOptions", "run"]

PARTS = {"throughput": throughput.measure, "own time": own_time.measure, "rates": rates.measure, "late": late.measure}


def run(options: GatewayBenchOptions, beside: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Measure, print the figures and the table of targets, and return the record, with the table as ``targets``.

    Args:
        options: what is measured.
        beside: what was measured elsewhere and belongs into the record: the worth of a partial fusion.
    """
    metrics: dict[str, float] = {}
    with standing_bed(options) as bed:
        metrics["pinned"] = float(bed.core is not None)
        for name, measure in PARTS.items():
            print(f"  {name} …", flush=True)
            metrics |= measure(bed)
    record = report("gateway", metrics | dict(beside or {}))
    print_targets(TARGETS, record["metrics"])
    return record | {"targets": [target.record(record["metrics"]) for target in TARGETS]}
