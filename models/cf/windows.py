"""Models of sequences: how histories are cut into windows and padded, trained on at every position, and scored.

A network reads item numbers and gives one state a position; a state scores the item that comes next. Number ``n_items``
is the start token, which stands before the first item and after the last one as padding: networks look back only, so
padding behind a sequence changes nothing in it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.cf.training import Progress, fit
from models.contract.types import Floats, Ints
from models.evaluation.metrics import mean_ndcg
from models.training.batching import of_like_lengths
from models.training.device import mixed_precision, training_device
from models.training.divergence import check_loss
from models.training.losses import next_item_losses
from models.types import Examples, Sequences, by_history

SCORING_BATCH = 256  # histories in one pass


class NextItemNetwork(nn.Module, ABC):
    """A network that looks back only. ``history_length`` is the longest input, the start token included."""

    n_items: int
    history_length: int

    @abstractmethod
    def forward(self, items: Tensor) -> Tensor:
        """States (n, length, d) of item numbers (n, length) int64."""

    @abstractmethod
    def logits(self, states: Tensor) -> Tensor:
        """Scores (…, n_items) of the next item for states (…, d)."""


class TrainingConfig(Protocol):
    """The settings that :func:`train_network` reads, whatever the network; each network's own class documents them."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def patience(self) -> int: ...


@dataclass(frozen=True)
class NextItemScorer:
    """A trained network as a :class:`models.types.Scorer`; it scores where its parameters are."""

    network: NextItemNetwork

    def scores(self, histories: Sequences) -> Floats:
        """See :class:`models.types.Scorer`. An empty history is scored from the start token alone."""
        scores = np.empty((len(histories), self.network.n_items), np.float32)
        shortest_first = np.argsort(np.diff(histories.offsets), kind="stable")  # so that batches need little padding
        for at in range(0, len(histories), SCORING_BATCH):
            rows = shortest_first[at : at + SCORING_BATCH]
            scores[rows] = self._scores([histories[row] for row in rows.tolist()])
        return scores

    @torch.no_grad()
    def _scores(self, histories: list[Ints]) -> Floats:
        newest = [history[max(0, len(history) - self.network.history_length + 1) :] for history in histories]
        inputs, _ = pad(newest, self.network.n_items)
        states = self.network(torch.from_numpy(inputs).to(device_of(self.network)))
        last = torch.tensor([len(history) for history in newest])
        scores: Floats = self.network.logits(states[torch.arange(len(newest)), last]).cpu().numpy()
        return scores


def train_network(
    network: NextItemNetwork,
    train: Sequences,
    valid: Examples,
    config: TrainingConfig,
    progress: Progress,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
) -> NextItemScorer:
    """Train with AdamW on the users' sequences, on a GPU where there is one; stop early on the validation examples.

    Order, windows and dropout follow torch's random numbers: call it where they are :func:`models.cf.training.seeded`.
    On a CPU a seed then gives one model; a GPU may add up gradients in any order.

    Args:
        network: changed in place, left as after its best epoch, on the device that it was trained on.
        train: item numbers of every user, oldest first.
        valid: what decides when to stop.
        config: see :class:`TrainingConfig`.
        progress: told of every epoch.
        betas: Adam's decay rates of the gradient's two moments.
    """
    network.to(training_device())
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, betas=betas, weight_decay=config.weight_decay
    )
    sequences = [train[row] for row in range(len(train)) if len(train[row])]
    scorer = NextItemScorer(network)
    fit(
        network,
        lambda epoch: train_epoch(network, optimizer, sequences, config.batch_size, epoch),
        lambda: mean_ndcg(by_history(scorer), valid),
        epochs=config.epochs,
        patience=config.patience,
        progress=progress,
    )
    return scorer


def train_epoch(
    network: NextItemNetwork, optimizer: torch.optim.Optimizer, sequences: list[Ints], batch_size: int, epoch: int
) -> None:
    """One pass over all windows in random order, with the loss of ``models.training.losses`` at every position.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    pieces = [window for sequence in sequences for window in windows(sequence, network.history_length)]
    rng, device = np.random.default_rng(int(torch.randint(2**31, ()))), device_of(network)
    for rows in of_like_lengths(np.asarray([len(piece) for piece in pieces]), batch_size, rng):
        arrays = pad([pieces[i] for i in rows], network.n_items)
        inputs, targets = (torch.from_numpy(array).to(device) for array in arrays)
        with mixed_precision(device):
            logits = network.logits(network(inputs[:, :-1])[targets < network.n_items])
        loss = next_item_losses(logits, targets).mean()
        check_loss(loss.item(), f"epoch {epoch} of {type(network).__name__}", {"inputs": inputs})
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next(network.parameters()).device


def windows(sequence: Ints, length: int) -> list[Ints]:
    """The sequence in pieces of at most ``length`` items, cut at random places."""
    if len(sequence) <= length:
        return [sequence]
    first = int(torch.randint(1, length + 1, ()))
    return np.split(sequence, range(first, len(sequence), length))


def pad(sequences: list[Ints], start: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Inputs (n, longest + 1), the start token first, and targets (n, longest); both filled up with the start token."""
    longest = max(len(sequence) for sequence in sequences)
    inputs = np.full((len(sequences), longest + 1), start, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        inputs[row, 1 : len(sequence) + 1] = sequence
    return inputs, inputs[:, 1:]
