"""What training took, and L3Rec's Table 5: the q local adapters beside the one global adapter."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from models.contract.errors import DataError
from models.llm.training import FitState
from models.stage import COST
from models.training.device import peak_memory_bytes, training_device
from models.training.jobs import as_duration


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

    def as_markdown(self) -> str:
        """A table of the global adapter, the local ones, and these together."""
        costs = list(self.local_adapters.values())
        rows = [_row("global adapter", [self.global_adapter], self.global_adapter.seconds, self.global_adapter)]
        rows += [_row(name, [cost], cost.seconds, self.global_adapter) for name, cost in self.local_adapters.items()]
        rows += [
            _row(f"{len(costs)} local adapters in parallel", costs, self.parallel_seconds, self.global_adapter),
            _row(f"{len(costs)} local adapters summed", costs, self.summed_seconds, self.global_adapter),
        ]
        header = ("training", "time", "of the global's", "epochs", "examples", "tokens", "parameters")
        lines = [_line(header), _line(["---"] + ["---:"] * (len(header) - 1)), *map(_line, rows)]
        return "\n".join([*lines, "", f"On {', '.join(sorted({c.device for c in [self.global_adapter, *costs]}))}."])


def training_report(directory: Path, communities: Sequence[str]) -> TrainingReport:
    """The report of a run directory whose global and local adapters are trained.

    Raises:
        DataError: one of them is not.
    """
    local = {name: load_cost(directory / "local" / name) for name in communities}
    return TrainingReport(load_cost(directory / "global"), local)


def _row(name: str, costs: Sequence[TrainingCost], seconds: float, reference: TrainingCost) -> list[str]:
    epochs = sorted({cost.epochs for cost in costs})
    examples, tokens, parameters = (
        sum(getattr(cost, key) for cost in costs) for key in ("examples", "tokens", "parameters")
    )
    shown = f"{epochs[0]}–{epochs[-1]}" if len(epochs) > 1 else f"{epochs[0]}"
    share = f"{seconds / reference.seconds:.0%}"
    return [name, as_duration(seconds), share, shown, f"{examples:,}", f"{tokens:,}", f"{parameters:,}"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
