"""Early stopping and seeds."""

import pytest
import torch
from torch import nn

from models.cf.training import fit, seeded, silent


class Curve:
    """A 'model' whose only parameter is the epoch, and whose validation follows a given curve."""

    def __init__(self, *values: float) -> None:
        self.values = values
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.seen: list[tuple[int, float]] = []

    def train_epoch(self, epoch: int) -> None:
        assert self.model.training
        assert epoch == self.model.weight.item() + 1
        with torch.no_grad():
            self.model.weight += 1

    def validate(self) -> float:
        assert not self.model.training
        return self.values[int(self.model.weight.item()) - 1]

    def fit(self, patience: int) -> float:
        return fit(
            self.model,
            self.train_epoch,
            self.validate,
            epochs=len(self.values),
            patience=patience,
            progress=lambda epoch, ndcg: self.seen.append((epoch, ndcg)),
        )


def test_stops_after_patience_and_goes_back_to_the_best() -> None:
    curve = Curve(0.1, 0.3, 0.2, 0.3, 0.9)
    assert curve.fit(patience=2) == 0.3
    assert curve.seen == [(1, 0.1), (2, 0.3), (3, 0.2), (4, 0.3)]
    assert curve.model.weight.item() == 2.0
    assert not curve.model.training


def test_goes_on_while_it_improves() -> None:
    curve = Curve(0.1, 0.05, 0.2, 0.15, 0.3)
    assert curve.fit(patience=2) == 0.3
    assert curve.model.weight.item() == 5.0


def test_useless_training_keeps_the_first_epoch() -> None:
    curve = Curve(0.0, 0.0, 0.0)
    assert curve.fit(patience=1) == 0.0
    assert curve.model.weight.item() == 1.0


@pytest.mark.parametrize("inside", [0, 5])
def test_seed_is_local(inside: int) -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(inside):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded(inside):
        assert torch.equal(torch.rand(2), first)


def test_silent_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    silent(1, 0.5)
    assert capsys.readouterr() == ("", "")
