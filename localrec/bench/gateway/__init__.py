"""``localrec bench gateway``: what the gateway itself costs, and what it does under load; the issue's targets.

Throughput is set beside the bare FastAPI service of :mod:`localrec.bench.reference`, in one run and in turns. Workers
are stubs, so that what is measured is the gateway's own.
"""

from collections.abc import Mapping
from typing import Any

from localrec.bench.gateway import late, own_time, rates, throughput
from localrec.bench.gateway.bed import Bed, standing_bed
from localrec.bench.gateway.options import GatewayBenchOptions
from localrec.bench.gateway.targets import TARGETS
from localrec.bench.report import report
from localrec.bench.targets import print_targets

__all__ = ["GatewayBenchOptions", "run"]


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


def _cf(bed: Bed) -> dict[str, float]:
    # A full queue makes requests wait for longer than people would: what is measured here is throughput.
    with bed.reference() as reference_port, bed.gateway({"default_deadline_ms": 1_000}) as port:
        return throughput.measure(bed, reference_port, port) | rates.below_capacity(bed, port, "cf")


def _before_engine(bed: Bed) -> dict[str, float]:
    with bed.local("engine") as (port, _):
        metrics = {"local_cpu_engine_ms": own_time.cpu_ms(bed, port)}
        return metrics | rates.below_capacity(bed, port, "local") | rates.above_capacity(bed, port)


def _before_vllm(bed: Bed) -> dict[str, float]:
    with bed.local("vllm") as ports:
        metrics = {"local_cpu_vllm_ms": own_time.cpu_ms(bed, ports[0])}
        return metrics | own_time.stages(bed, *ports) | late.measure(bed, *ports)


PARTS = {"cf": _cf, "local, engine's fan-out": _before_engine, "local, vLLM's completions": _before_vllm}
