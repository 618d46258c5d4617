"""The training loop that the CF models share: early stopping on a validation metric, its progress, local seeds."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from tqdm import tqdm

Progress = Callable[[int, float], None]
"""Called after every epoch with its number, from 1, and its validation metric: NDCG@10, of labelled pairs AUC."""


def silent(epoch: int, value: float) -> None:
    """The progress of one who does not watch."""


@contextmanager
def epoch_bar(name: str, epochs: int) -> Iterator[Progress]:
    """A progress bar for a trainer that tells epoch and validation NDCG@10."""
    with tqdm(total=epochs, desc=name, unit="epoch", leave=False, disable=None) as bar:

        def progress(epoch: int, ndcg: float) -> None:
            bar.set_postfix_str(f"validation NDCG@10 {ndcg:.4f}")
            bar.update()

        yield progress


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's random numbers, the GPU's too, start at ``seed`` inside, and go on outside as if nothing had happened."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        yield


def fit(
    model: nn.Module,
    train_epoch: Callable[[int], None],
    validate: Callable[[], float],
    *,
    epochs: int,
    patience: int,
    progress: Progress,
) -> float:
    """Train until validation has not improved for ``patience`` epochs, or for ``epochs``; leave the best state.

    Args:
        model: changed in place, left in evaluation mode with the parameters of its best epoch.
        train_epoch: one pass over the training data, told the epoch's number, from 1; finds the model in training mode.
        validate: the model's validation metric, at least 0, higher is better; finds it in evaluation mode.
        epochs: at most.
        patience: epochs without improvement after which training stops.
        progress: told of every epoch.

    Returns:
        The best validation metric.
    """
    best_state = copy.deepcopy(model.state_dict())

    def run_epoch(epoch: int) -> float:
        model.train()
        train_epoch(epoch)
        model.eval()
        return validate()

    def keep() -> None:
        best_state.update(copy.deepcopy(model.state_dict()))

    best_value = stop_early(run_epoch, keep, epochs=epochs, patience=patience, progress=progress)
    model.load_state_dict(best_state)
    return best_value


def stop_early(
    run_epoch: Callable[[int], float], keep: Callable[[], None], *, epochs: int, patience: int, progress: Progress
) -> float:
    """Train until validation has not improved for ``patience`` epochs, or for ``epochs``.

    Args:
        run_epoch: one pass over the training data, told the epoch's number, from 1; returns the model's validation
            metric after it, at least 0, higher is better.
        keep: called after an epoch that was better than all before: remember the model as it is now.
        epochs: at most.
        patience: epochs without improvement after which training stops.
        progress: told of every epoch.

    Returns:
        The best validation metric.
    """
    best_value, best_epoch = -1.0, 0
    for epoch in range(1, epochs + 1):
        value = run_epoch(epoch)
        progress(epoch, value)
        if value > best_value:
            best_value, best_epoch = value, epoch
            keep()
        elif epoch - best_epoch >= patience:
            break
    return best_value
