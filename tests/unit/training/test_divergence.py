"""A loss that is no number: who says so, and where the batch lies."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.training.divergence import FAILED_BATCH, TrainingError, check_loss, failed_batch_kept

ITEMS = torch.arange(4).unsqueeze(0)
BATCH = {"inputs": ITEMS, "targets": ITEMS[:, 1:]}  # two views of one tensor


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_the_batch_of_a_loss_that_is_no_number_is_kept_and_named(tmp_path: Path, loss: float) -> None:
    with (
        pytest.raises(TrainingError, match=rf"^the loss is {loss} in epoch 3 of SASRec; .*{FAILED_BATCH}$"),
        failed_batch_kept(tmp_path),
    ):
        check_loss(loss, "epoch 3 of SASRec", BATCH)
    kept = load_file(tmp_path / FAILED_BATCH)
    assert {name: tensor.tolist() for name, tensor in kept.items()} == {
        "inputs": [[0, 1, 2, 3]],
        "targets": [[1, 2, 3]],
    }


def test_a_number_is_no_failure(tmp_path: Path) -> None:
    with failed_batch_kept(tmp_path):
        check_loss(1e30, "epoch 1", BATCH)
    assert not list(tmp_path.iterdir())


def test_a_batch_is_kept_once(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(TrainingError, match=rf"{FAILED_BATCH}$"), failed_batch_kept(tmp_path), failed_batch_kept(inner):
        check_loss(math.nan, "epoch 1", BATCH)
    assert [path.name for path in tmp_path.rglob("*.safetensors")] == [FAILED_BATCH]
    assert (inner / FAILED_BATCH).exists()


def test_without_a_batch_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^factors are not finite$"), failed_batch_kept(tmp_path):
        raise TrainingError("factors are not finite")
    assert not list(tmp_path.iterdir())
