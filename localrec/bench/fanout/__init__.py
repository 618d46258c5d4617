"""``localrec bench fanout``: what nine adapters cost, against one, against stock vLLM, under load, beside loads."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from localrec.bench.fanout import in_process, served, slots
from localrec.bench.fanout.served import ServedOptions
from localrec.bench.fanout.targets import TARGETS
from localrec.bench.report import report
from localrec.bench.targets import print_targets

Part = Literal["model", "http", "vllm", "loading", "slots", "index"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class FanoutBenchOptions:
    """What is measured.

    Args:
        parts: the model by itself, over HTTP, beside vLLM, while adapters are loaded, with too few slots, with a very
            large catalogue.
        rounds: of the model by itself, after two that warm up.
        threads: of torch, for the model by itself; the served engine takes its own default.
        served: see :class:`ServedOptions`.
    """

    parts: Sequence[Part] = PARTS
    rounds: int = 30
    threads: int = 1
    served: ServedOptions = field(default_factory=ServedOptions)


def run(options: FanoutBenchOptions) -> dict[str, Any]:
    """Measure, print the figures and the table of targets, and return the record."""
    shape = options.served
    metrics: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="lr-") as temporary:
        root = Path(temporary)
        measures: dict[Part, Callable[[], dict[str, float]]] = {
            "model": lambda: in_process.measure(shape.n_items, options.rounds, options.threads, shape.seed),
            "http": lambda: served.http(root, shape),
            "vllm": lambda: served.against_vllm(root, shape),
            "loading": lambda: served.while_loading(root, shape),
            "slots": lambda: slots.measure(root, shape),
            "index": lambda: in_process.index(options.threads, shape.seed),
        }
        for part in options.parts:
            print(f"  {part} …", flush=True)
            metrics |= measures[part]()
    record = report("fanout", metrics)
    print_targets(TARGETS, metrics)
    return record
