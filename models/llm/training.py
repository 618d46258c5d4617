"""The one training loop of every language model here: epochs, warm-up and cosine decay, early stopping, resumption.

A *task* says what is trained and on what. State is written after every epoch, so that an interrupted run goes on;
random numbers are drawn per epoch from (seed, epoch), so that it ends where an uninterrupted one would.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from models.training.divergence import FAILED_BATCH, check_loss, failed_batch_kept
from models.types import Report

_MODULE, _ADAM, _STATE = "module.", "adam.", "state"  # names in the file of an unfinished run

TARGETS = "targets"  # the tensor of a batch that every task names alike: what is predicted, (b, length) or (b,)
IGNORED = -100  # target where nothing is predicted

Batch = Mapping[str, Tensor]  # with TARGETS


class Task(Protocol):
    """What :func:`fit` trains, and on what."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for AdamW, each with ``params``, ``lr`` and ``weight_decay``."""
        ...

    def batches(self, epoch: int) -> list[Batch]:
        """The epoch's batches, in training order."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch."""
        ...

    def validate(self) -> float:
        """Quality on validation data, higher is better."""
        ...


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast. ``patience`` counts epochs without improvement; the warm-up is a share of all steps."""

    epochs: int
    patience: int
    seed: int
    warmup_share: float = 0.05
    clip_norm: float = 1.0


@dataclass
class FitState:
    """Where a run stands, and what it took so far, interruptions included.

    Epoch 0 is the untrained state, which a run that never improves on it keeps.

    Args:
        epoch: epochs that are over.
        best: best validation quality, at ``best_epoch``.
        best_epoch: see ``best``.
        examples: predictions trained on, over all epochs.
        tokens: positions that the layers ran over in training, padding included.
        seconds: in which that was done, validation included. An epoch that was interrupted and done again counts once.
        parameters: numbers that are trained.
    """

    epoch: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    examples: int = 0
    tokens: int = 0
    seconds: float = field(default=0.0, compare=False)  # no two runs are equal in it
    parameters: int = 0

    @property
    def stale(self) -> int:
        """Epochs since the best one."""
        return self.epoch - self.best_epoch


def fit(
    module: nn.Module, task: Task, config: FitConfig, directory: Path, report: Report, *, keep: bool = False
) -> FitState:
    """Train the parameters of ``module`` that require a gradient; leave it as it was after its best epoch.

    Args:
        module: what is trained.
        task: see :class:`Task`.
        config: see :class:`FitConfig`.
        directory: where the state of an unfinished run is kept.
        report: told one line an epoch.
        keep: leave the state of the finished run as well, so that another call only reads it; for whoever has long
            work to do with the result, and calls :func:`forget` when that is over.

    Raises:
        TrainingError: the loss is NaN or infinite; the batch is saved in ``directory``.
    """
    optimizer = torch.optim.AdamW(task.parameter_groups())
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    files = _RunFiles(directory)
    clock = _Clock()
    state = files.restore(module, optimizer)
    if state is None:
        module.eval()
        state = FitState(best=task.validate(), parameters=sum(p.numel() for p in _trainable(module).values()))
        files.save_best(module)
        report(f"epoch 0/{config.epochs}  validation {state.best:.4f}")
    while state.epoch < config.epochs and state.stale < config.patience:
        rates = _Rates(optimizer, config, state.epoch)
        with failed_batch_kept(directory):
            loss = _train_epoch(module, task, optimizer, rates, state)
        score = task.validate()
        state.epoch += 1
        if score > state.best:
            state.best, state.best_epoch = score, state.epoch
            files.save_best(module)
        state.seconds += clock.lap_seconds()
        files.save(module, optimizer, state)
        report(f"epoch {state.epoch}/{config.epochs}  loss {loss:.4f}  validation {score:.4f}  best {state.best:.4f}")
    files.load_best(module)
    if not keep:
        files.remove()
    return state


def forget(directory: Path) -> None:
    """Remove what :func:`fit` has kept in a directory, if anything."""
    _RunFiles(directory).remove()


class _Clock:
    """Seconds since the last question."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def lap_seconds(self) -> float:
        now = time.perf_counter()
        lap, self._since = now - self._since, now
        return lap


@dataclass(frozen=True)
class _Rates:
    """Learning rates of one epoch: linear warm-up, then cosine decay to zero over all planned steps."""

    optimizer: torch.optim.Optimizer
    config: FitConfig
    epoch: int

    def set(self, number: int, n_batches: int) -> None:
        step, n_steps = self.epoch * n_batches + number, self.config.epochs * n_batches
        warmup = min(1.0, (step + 1) / max(self.config.warmup_share * n_steps, 1.0))
        decay = 0.5 * (1 + math.cos(math.pi * step / n_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * warmup * decay


def _train_epoch(
    module: nn.Module, task: Task, optimizer: torch.optim.Optimizer, rates: _Rates, state: FitState
) -> float:
    """Mean loss of the epoch's batches; what was trained on is added to the state."""
    torch.manual_seed(rates.config.seed * 100_003 + rates.epoch)
    module.train()
    parameters = list(_trainable(module).values())
    device = parameters[0].device
    batches = task.batches(rates.epoch)
    total = 0.0
    for number, batch in enumerate(
        tqdm(batches, desc=f"epoch {rates.epoch + 1}", unit="batch", leave=False, disable=None)
    ):
        rates.set(number, len(batches))
        loss = task.loss({name: value.to(device) for name, value in batch.items()})
        value = loss.item()  # the one time a step that the CPU waits for a GPU
        check_loss(value, f"batch {number + 1} of epoch {rates.epoch + 1}", batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, rates.config.clip_norm)
        optimizer.step()
        total += value
        state.examples += int((batch[TARGETS] != IGNORED).sum())
        state.tokens += batch[TARGETS].numel()
    module.eval()
    return total / max(len(batches), 1)


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


class _RunFiles:
    """The files of an unfinished run: parameters of the last and the best epoch, Adam's moments, the counters."""

    def __init__(self, directory: Path) -> None:
        self._last = directory / "fit_last.safetensors"
        self._best = directory / "fit_best.safetensors"
        self._failed = directory / FAILED_BATCH

    def save_best(self, module: nn.Module) -> None:
        _save(_parameters(module), self._best)

    def load_best(self, module: nn.Module) -> None:
        module.load_state_dict(load_file(self._best), strict=False)

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, state: FitState) -> None:
        """One file, replaced at once: parameters, moments and counters are always of the same epoch."""
        tensors = {f"{_MODULE}{name}": value for name, value in _parameters(module).items()}
        for number, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{_ADAM}{number}.{key}": value for key, value in moments.items()}
        _save(tensors, self._last, {_STATE: json.dumps(asdict(state))})

    def restore(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> FitState | None:
        if not self._last.exists():
            return None
        with safe_open(self._last, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            state = FitState(**json.loads(file.metadata()[_STATE]))
        module.load_state_dict(_below(_MODULE, tensors), strict=False)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(_ADAM, tensors).items():
            number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = value
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        return state

    def remove(self) -> None:
        for path in (self._last, self._best, self._failed):
            path.unlink(missing_ok=True)


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in _trainable(module).items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _save(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    temporary = path.with_suffix(".tmp")
    save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, metadata)
    os.replace(temporary, path)
