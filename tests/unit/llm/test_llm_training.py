import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.llm import training
from models.llm.training import IGNORED, Batch, FitConfig, FitState, fit
from models.training.divergence import TrainingError

CONFIG = FitConfig(epochs=4, patience=4, seed=0, warmup_share=0.25)


class Interrupted(BaseException):
    """Stands for a killed process."""


class Net(nn.Module):
    """Two layers with dropout between them, and a parameter that is not trained."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def parameters_now(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.named_parameters()}


class Toy:
    """Least squares; says where it is interrupted."""

    def __init__(
        self,
        net: Net,
        scores: list[float] | None = None,
        before_loss: Callable[[int], None] = lambda step: None,
        before_validation: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.net, self.scores = net, scores
        self.before_loss, self.before_validation = before_loss, before_validation
        self.steps = self.validations = 0
        self.after_epoch: list[dict[str, Tensor]] = []

    def parameter_groups(self) -> list[dict[str, Any]]:
        first, last = self.net.layers[0].parameters(), self.net.layers[2].parameters()
        return [
            {"params": list(first), "lr": 0.05, "weight_decay": 0.0},
            {"params": list(last), "lr": 0.02, "weight_decay": 0.1},
        ]

    def batches(self, epoch: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(epoch)
        targets = torch.tensor([[0, 1, IGNORED], [2, IGNORED, IGNORED]])
        return [{"x": torch.randn(16, 3, generator=generator), "targets": targets} for _ in range(5)]

    def loss(self, batch: Batch) -> Tensor:
        self.before_loss(self.steps)
        self.steps += 1
        x = batch["x"]
        return (self.net.layers(x) - x.sum(dim=1, keepdim=True)).square().mean()

    @torch.no_grad()
    def validate(self) -> float:
        self.before_validation(self.validations)
        self.validations += 1
        self.after_epoch.append(self.net.parameters_now())
        if self.scores is not None:
            return self.scores[self.validations - 1]
        x = torch.randn(64, 3, generator=torch.Generator().manual_seed(99))
        return -float((self.net.layers(x) - x.sum(dim=1, keepdim=True)).square().mean())


def no_report(line: str) -> None:
    pass


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def finished(directory: Path, seed: int = 0, config: FitConfig = CONFIG) -> tuple[dict[str, Tensor], FitState]:
    net = Net(seed)
    state = fit(net, Toy(net), config, directory, no_report)
    return net.parameters_now(), state


def test_training_improves_and_leaves_frozen_parameters(tmp_path: Path) -> None:
    net = Net()
    task = Toy(net)
    state = fit(net, task, CONFIG, tmp_path, no_report)
    untrained = Toy(Net()).validate()
    assert state.best > untrained + 0.5
    assert torch.equal(net.frozen, torch.ones(2))
    assert not net.training


def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    net = Net()
    task = Toy(net, scores=[0.1, 0.5, 0.3, 0.4, 0.9])
    lines: list[str] = []
    state = fit(net, task, FitConfig(epochs=9, patience=2, seed=0), tmp_path, lines.append)
    assert (state.epoch, state.best_epoch, state.best) == (3, 1, 0.5)
    assert same(net.parameters_now(), task.after_epoch[1])
    assert [line.split()[1] for line in lines] == ["0/9", "1/9", "2/9", "3/9"]


def test_a_run_that_never_improves_keeps_the_untrained_state(tmp_path: Path) -> None:
    net = Net()
    state = fit(net, Toy(net, scores=[0.5, 0.5, 0.4, 0.3, 0.2]), CONFIG, tmp_path, no_report)
    assert (state.best_epoch, state.best) == (0, 0.5)
    assert same(net.parameters_now(), Net().parameters_now())


def test_an_improvement_renews_patience(tmp_path: Path) -> None:
    net = Net()
    scores = [0.1, 0.0, 0.2, 0.1, 0.3, 0.2, 0.1]
    state = fit(net, Toy(net, scores), FitConfig(epochs=9, patience=2, seed=0), tmp_path, no_report)
    assert (state.epoch, state.best_epoch) == (6, 4)


def test_the_same_seed_gives_the_same_parameters(tmp_path: Path) -> None:
    first, _ = finished(tmp_path)
    torch.manual_seed(12345)  # what happened before does not matter
    assert same(finished(tmp_path)[0], first)
    other, _ = finished(tmp_path, config=FitConfig(epochs=4, patience=4, seed=1, warmup_share=0.25))
    assert not same(other, first)


def stop_at(number: int) -> Callable[[int], None]:
    def check(now: int) -> None:
        if now == number:
            raise Interrupted

    return check


@pytest.mark.parametrize(
    "hooks",
    [
        {"before_loss": stop_at(2)},
        {"before_loss": stop_at(5)},
        {"before_loss": stop_at(13)},
        {"before_validation": stop_at(0)},
        {"before_validation": stop_at(2)},
        {"before_validation": stop_at(4)},
    ],
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path: Path, hooks: dict[str, Callable[[int], None]]) -> None:
    expected, state = finished(tmp_path / "..")
    net = Net()
    with pytest.raises(Interrupted):
        fit(net, Toy(net, **hooks), CONFIG, tmp_path, no_report)
    resumed, resumed_state = finished(tmp_path)
    assert same(resumed, expected)
    assert resumed_state == state


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(9))
def test_so_does_one_that_was_interrupted_between_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    """Nine files are put in place in this run; it dies right before or right after one of them is."""
    expected, state = finished(tmp_path / "..")
    replace, count = os.replace, iter(range(100))

    def dying_replace(source: Path, target: Path) -> None:
        dies = next(count) == number
        if dies and not after:
            raise Interrupted
        replace(source, target)
        if dies:
            raise Interrupted

    net = Net()
    with monkeypatch.context() as patch:
        patch.setattr(training.os, "replace", dying_replace)
        with pytest.raises(Interrupted):
            fit(net, Toy(net), CONFIG, tmp_path, no_report)
    resumed, resumed_state = finished(tmp_path)
    assert same(resumed, expected)
    assert resumed_state == state


def test_a_resumed_run_does_not_repeat_finished_epochs(tmp_path: Path) -> None:
    net = Net()
    with pytest.raises(Interrupted):
        fit(net, Toy(net, before_loss=stop_at(13)), CONFIG, tmp_path, no_report)  # 5 a epoch: in the third
    net = Net()
    task = Toy(net)
    fit(net, task, CONFIG, tmp_path, no_report)
    assert task.steps == 10


def test_nothing_is_left_of_a_finished_run(tmp_path: Path) -> None:
    finished(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_batch(tmp_path: Path, bad: float) -> None:
    class Broken(Toy):
        def loss(self, batch: Batch) -> Tensor:
            loss = super().loss(batch)
            return loss * bad if self.steps == 7 else loss

    net = Net()
    task = Broken(net)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in batch 2 of epoch 2.*failed_batch\.safetensors"):
        fit(net, task, CONFIG, tmp_path, no_report)
    saved = load_file(tmp_path / "failed_batch.safetensors")
    assert torch.equal(saved["x"], task.batches(1)[1]["x"])
    assert all(p.isfinite().all() for p in net.parameters())
    fit(net, Toy(net), CONFIG, tmp_path, no_report)  # mended, it goes on, and leaves nothing
    assert list(tmp_path.iterdir()) == []


def test_rates_rise_linearly_then_fall_as_a_cosine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[list[float]] = []
    step = torch.optim.AdamW.step

    def spy(optimizer: torch.optim.AdamW, *args: Any) -> Any:
        rates.append([group["lr"] for group in optimizer.param_groups])
        return step(optimizer, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    finished(tmp_path)
    expected = [min(1, (n + 1) / 5) * 0.5 * (1 + math.cos(math.pi * n / 20)) for n in range(20)]
    assert [rate[0] for rate in rates] == pytest.approx([0.05 * e for e in expected])
    assert [rate[1] for rate in rates] == pytest.approx([0.02 * e for e in expected])


def test_a_task_without_batches_keeps_the_untrained_state(tmp_path: Path) -> None:
    class Empty(Toy):
        def batches(self, epoch: int) -> list[Batch]:
            return []

    net = Net()
    fit(net, Empty(net), CONFIG, tmp_path, no_report)
    assert same(net.parameters_now(), Net().parameters_now())


def test_a_run_counts_what_it_trains_on(tmp_path: Path) -> None:
    _, state = finished(tmp_path)
    assert (state.examples, state.tokens) == (4 * 5 * 3, 4 * 5 * 6)  # epochs · batches · of a batch
    assert state.parameters == 3 * 8 + 8 + 8 + 1  # the frozen ones do not count


def test_time_adds_up_over_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is a second later: one at the start, one an epoch."""
    ticks = iter(range(1_000))
    monkeypatch.setattr(training.time, "perf_counter", lambda: float(next(ticks)))
    net = Net()
    with pytest.raises(Interrupted):
        fit(net, Toy(net, before_loss=stop_at(13)), CONFIG, tmp_path, no_report)  # in the third epoch
    _, state = finished(tmp_path)
    assert state.seconds == 4.0
    assert state.examples == 4 * 5 * 3  # the third epoch's first batches were trained on twice, and count once


@pytest.mark.gpu
def test_on_a_gpu_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    net = Net().cuda()
    with pytest.raises(Interrupted):
        fit(net, Toy(net, scores=[0.0, 0.1, 0.2], before_loss=stop_at(13)), CONFIG, tmp_path, no_report)
    net = Net().cuda()
    state = fit(net, Toy(net, scores=[0.3, 0.4]), CONFIG, tmp_path, no_report)
    assert (state.epoch, state.best_epoch) == (4, 4)
    assert all(p.is_cuda for p in net.parameters())
