"""Training and scoring of any collaborative model of labelled pairs."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.cf import windows
from models.cf.pointwise.types import CollaborativeModel, Pairs
from models.cf.training import Progress, fit, seeded, silent
from models.contract.errors import DataError
from models.contract.types import Floats
from models.data.labelled import LabelledData, LabelledPairs
from models.evaluation.pointwise import auc
from models.training.device import training_device
from models.training.divergence import check_loss

SCORING_BATCH = 4096  # pairs in one pass


class TrainingConfig(windows.TrainingConfig, Protocol):
    """The settings that :func:`train_pointwise` reads, whatever the model; each model's own class documents them."""

    @property
    def seed(self) -> int: ...


def train_pointwise(
    model: CollaborativeModel, data: LabelledData, config: TrainingConfig, progress: Progress = silent
) -> float:
    """Train with Adam on binary cross-entropy, on a GPU where there is one; stop early on the validation AUC.

    On a CPU the same seed and the same initial model give the same result; a GPU may add up gradients in any order.

    Args:
        model: changed in place, left in evaluation mode as after its best epoch, on the device that it was trained on.
        data: test pairs are not looked at.
        config: see :class:`TrainingConfig`.
        progress: told of every epoch.

    Returns:
        The best validation AUC.

    Raises:
        DataError: the validation pairs are all liked or all not, so that nothing says when to stop.
        TrainingError: the loss is NaN or infinite.
    """
    if len(np.unique(data.valid.labels)) < 2:
        raise DataError("validation pairs: all have one label; expected liked ones and others")
    model.to(training_device())
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    with seeded(config.seed):
        return fit(
            model,
            lambda epoch: _train_epoch(model, optimizer, data.train, data.n_items, config.batch_size, epoch),
            lambda: auc(predict(model, data.valid, data.n_items), data.valid.labels),
            epochs=config.epochs,
            patience=config.patience,
            progress=progress,
        )


@torch.no_grad()
def predict(model: CollaborativeModel, labelled: LabelledPairs, n_items: int) -> Floats:
    """(n,) float32 logits of all pairs, higher is more likely liked, by a model in evaluation mode."""
    scores = np.empty(len(labelled), np.float32)
    for at in range(0, len(labelled), SCORING_BATCH):
        rows = np.arange(at, min(at + SCORING_BATCH, len(labelled)))
        scores[rows] = model(_batch(model, labelled, rows, n_items)).cpu().numpy()
    return scores


def pairs_of(labelled: LabelledPairs, rows: NDArray[np.int64], n_items: int, history_length: int) -> Pairs:
    """Some pairs as a batch on the CPU, each with the newest ``history_length`` items of its history.

    Args:
        labelled: of a split.
        rows: (b,) which of them.
        n_items: size of the catalogue, and the number that pads histories on the left.
        history_length: the model's.
    """
    ends = labelled.histories.offsets[rows + 1, None]
    places = ends - history_length + np.arange(history_length)
    there = places >= labelled.histories.offsets[rows, None]
    histories = np.full(places.shape, n_items, np.int64)
    histories[there] = labelled.histories.items[places[there]]
    items = labelled.items[rows].astype(np.int64)
    return Pairs(torch.from_numpy(labelled.users[rows]), torch.from_numpy(items), torch.from_numpy(histories))


def _train_epoch(
    model: CollaborativeModel,
    optimizer: torch.optim.Optimizer,
    train: LabelledPairs,
    n_items: int,
    batch_size: int,
    epoch: int,
) -> None:
    for batch in torch.split(torch.randperm(len(train)), batch_size):
        rows = batch.numpy()
        pairs = _batch(model, train, rows, n_items)
        labels = torch.from_numpy(train.labels[rows]).to(pairs.users.device, torch.float32)
        loss: Tensor = F.binary_cross_entropy_with_logits(model(pairs), labels)
        check_loss(
            loss.item(), f"epoch {epoch} of {type(model).__name__}", {"users": pairs.users, "items": pairs.items}
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()


def _batch(model: CollaborativeModel, labelled: LabelledPairs, rows: NDArray[np.int64], n_items: int) -> Pairs:
    return pairs_of(labelled, rows, n_items, model.history_length).to(windows.device_of(model))
