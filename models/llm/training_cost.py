"""What training took, and L3Rec's Table 5: the q local adapters beside the one global adapter."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import torch

from models.contract.errors import DataError
from models.evaluation.plots import panels, save, style
from models.evaluation.tables import Table
from models.llm.training import FitState
from models.stage import COST
from models.training.device import peak_memory_bytes, training_device
from models.training.jobs import as_duration

_COLUMNS = (
    "time",
    "of the global's",
    "epochs",
    "examples",
    "tokens",
    "trained parameters, each",
    "peak memory, GiB",
)


@dataclass(frozen=True)
class TrainingCost:
    """What one training took.

    Args:
        seconds: in training and validation, over all interrupted runs.
        epochs: passes over the data; the best of them is kept.
        examples: predictions trained on.
        tokens: positions that the layers ran over, padding included.
        parameters: numbers that were trained.
        peak_memory_bytes: the most that the last of these processes has held up to then, whatever it did before.
        device: what it ran on.
    """

    seconds: float
    epochs: int
    examples: int
    tokens: int
    parameters: int
    peak_memory_bytes: int
    device: str


def save_cost(state: FitState, directory: Path) -> None:
    """Keep what a training took beside its result."""
    device = training_device()
    cost = TrainingCost(
        seconds=state.seconds,
        epochs=state.epoch,
        examples=state.examples,
        tokens=state.tokens,
        parameters=state.parameters,
        peak_memory_bytes=peak_memory_bytes(device),
        device=device_name(device),
    )
    (directory / COST).write_text(json.dumps(asdict(cost), indent=2) + "\n")


def load_cost(directory: Path) -> TrainingCost:
    """What a training took. Raises DataError where nobody kept it."""
    path = directory / COST
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingCost)
    except FileNotFoundError as exc:
        raise DataError(f"{path}: is missing; it is written by a training that ends") from exc
    except msgspec.MsgspecError as exc:
        raise DataError(f"{path}: {exc}") from exc


def device_name(device: torch.device) -> str:
    """A GPU by its name, a CPU by the threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, threads: {torch.get_num_threads()}"


@dataclass(frozen=True)
class TrainingReport:
    """Table 5 for one run: the global adapter's cost, and each local one's by name."""

    global_adapter: TrainingCost
    local_adapters: Mapping[str, TrainingCost]

    @property
    def parallel_seconds(self) -> float:
        """Wall time of the local adapters where each has a machine of its own: the slowest one's."""
        return max(cost.seconds for cost in self.local_adapters.values())

    @property
    def summed_seconds(self) -> float:
        """Wall time of the local adapters one after the other."""
        return sum(cost.seconds for cost in self.local_adapters.values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every adapter's cost, and what Table 5 compares."""
        return {
            "global": asdict(self.global_adapter),
            "local": {name: asdict(cost) for name, cost in self.local_adapters.items()},
            "local_parallel_seconds": self.parallel_seconds,
            "local_summed_seconds": self.summed_seconds,
            "parallel_over_global": self.parallel_seconds / self.global_adapter.seconds,
            "summed_over_global": self.summed_seconds / self.global_adapter.seconds,
        }


def training_report(directory: Path, communities: Sequence[str]) -> TrainingReport:
    """The report of a run directory whose global and local adapters are trained.

    Raises:
        DataError: one of them is not.
    """
    local = {name: load_cost(directory / "local" / name) for name in communities}
    return TrainingReport(load_cost(directory / "global"), local)


def costs_table(costs: Mapping[int, TrainingReport]) -> Table:
    """L3Rec's Table 5: the local adapters, in parallel and summed, beside the global one.

    Args:
        costs: by seed. Of one seed every adapter has a line of its own, too; of more, their mean has lines.
    """
    several = len(costs) > 1
    blocks = {str(seed): _lines(report, each=not several) for seed, report in costs.items()}
    if several:
        blocks["mean"] = [_mean(lines) for lines in zip(*blocks.values(), strict=True)]
    n = len(next(iter(costs.values())).local_adapters)
    return Table(
        f"Training cost: {n} local adapters, in parallel on a machine each or summed, and the global one;"
        " peak memory is the most that its process had held by then",
        ("seed", "training", *_COLUMNS),
        tuple((seed, *_cells(line, lines[0])) for seed, lines in blocks.items() for line in lines),
    )


def draw_costs(costs: Mapping[int, TrainingReport], directory: Path) -> list[Path]:
    """Draw time and examples of the same table, a bar a seed; the files that were written into ``directory``."""
    blocks = {seed: _lines(report, each=False) for seed, report in costs.items()}
    height = 0.8 / len(blocks)
    with style():
        figure, (times, examples) = panels("Training cost", 2, height=2.6, sharey=True)
        for place, (seed, lines) in enumerate(blocks.items()):
            at = [number + place * height for number in range(len(lines))]
            times.barh(at, [line.seconds / 60 for line in lines], height, label=f"seed {seed}")
            examples.barh(at, [line.examples / 1e6 for line in lines], height)
        names = [line.training for line in next(iter(blocks.values()))]
        times.set_yticks([number + (len(blocks) - 1) * height / 2 for number in range(len(names))], names)
        times.invert_yaxis()
        times.set_xlabel("minutes")
        times.legend()
        examples.set_xlabel("million examples, of all adapters")
        return save(figure, directory / "training-cost")


def devices(costs: Iterable[TrainingReport]) -> str:
    """What the language models were trained on."""
    return ", ".join(sorted({cost.device for r in costs for cost in (r.global_adapter, *r.local_adapters.values())}))


@dataclass(frozen=True)
class _Line:
    """A line of the table: ``epochs`` and ``parameters`` of an adapter, memory of the largest, the rest of all."""

    training: str
    seconds: float
    epochs: float
    examples: float
    tokens: float
    parameters: float
    peak_memory_bytes: float


def _lines(report: TrainingReport, *, each: bool) -> list[_Line]:
    adapters, n = report.local_adapters, len(report.local_adapters)
    together = list(adapters.values())
    return [
        _line("global adapter", report.global_adapter.seconds, [report.global_adapter]),
        *(_line(name, cost.seconds, [cost]) for name, cost in adapters.items() if each),
        _line(f"{n} local adapters in parallel", report.parallel_seconds, together),
        _line(f"{n} local adapters summed", report.summed_seconds, together),
    ]


def _line(training: str, seconds: float, costs: Sequence[TrainingCost]) -> _Line:
    return _Line(
        training=training,
        seconds=seconds,
        epochs=fmean(cost.epochs for cost in costs),
        examples=sum(cost.examples for cost in costs),
        tokens=sum(cost.tokens for cost in costs),
        parameters=fmean(cost.parameters for cost in costs),
        peak_memory_bytes=max(cost.peak_memory_bytes for cost in costs),
    )


def _mean(lines: Sequence[_Line]) -> _Line:
    """The same training over the seeds."""
    names = [field.name for field in fields(_Line) if field.name != "training"]
    return _Line(lines[0].training, **{name: fmean(getattr(line, name) for line in lines) for name in names})


def _cells(line: _Line, reference: _Line) -> tuple[str, ...]:
    return (
        line.training,
        as_duration(line.seconds),
        f"{line.seconds / reference.seconds:.0%}",
        f"{line.epochs:.1f}",
        f"{line.examples:,.0f}",
        f"{line.tokens:,.0f}",
        f"{line.parameters:,.0f}",
        f"{line.peak_memory_bytes / 2**30:.2f}",
    )
