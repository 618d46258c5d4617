"""The next-item task: the state at every item predicts the item after it (L3Rec, equation 3).

The softmax is over the whole catalogue but for the items that the history has shown before: see
``models.training.losses``, and ``models.papers.l3rec`` for what else of equation 3 is otherwise here.

One pass over a window trains as many examples as it has items.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.contract.prompts import start_token
from models.contract.types import Floats, Ints
from models.llm.item_token import NextItemModel, prompt_batch
from models.llm.training import IGNORED, TARGETS, Batch
from models.training.batching import of_like_lengths
from models.training.device import mixed_precision
from models.training.losses import next_item_losses
from models.types import Sequences

SCORING_BATCH = 64  # histories


@dataclass(frozen=True)
class WindowConfig:
    """How sequences are cut: ``history_length`` in items, ``batch_size`` in windows.

    ``ordered`` is False where sequences are sets: then every epoch sees them in another order.
    """

    history_length: int
    batch_size: int
    seed: int
    ordered: bool = True


class NextItemTask:
    """Trains a next-item model on users' sequences; see ``training.Task``.

    Args:
        model: what is trained.
        groups: its parameters, as AdamW's groups.
        sequences: training sequences, one a user.
        user_weights: (n,) weight of each user's loss; L3Rec's kernel affinities, or ones.
        config: see :class:`WindowConfig`.
        validate: quality of the model as it stands, higher is better.
    """

    def __init__(
        self,
        *,
        model: NextItemModel,
        groups: list[dict[str, Any]],
        sequences: Sequences,
        user_weights: Floats,
        config: WindowConfig,
        validate: Callable[[], float],
    ) -> None:
        self._model = model
        self._groups = groups
        self._sequences = sequences
        self._weights = user_weights
        self._config = config
        self._validate = validate

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See ``training.Task``."""
        return self._groups

    def batches(self, epoch: int) -> list[Batch]:
        """Windows with a new random offset every epoch, so that each item is seen behind histories of all lengths.

        Batches hold windows of about the same length, see :mod:`models.training.batching`.
        """
        rng = np.random.default_rng([self._config.seed, epoch])
        windows = [window for user in range(len(self._sequences)) for window in self._windows(user, rng)]
        lengths = np.asarray([len(window) for _, window in windows])
        batches = of_like_lengths(lengths, self._config.batch_size, rng)
        return [self._batch([windows[i] for i in rows]) for rows in batches]

    def loss(self, batch: Batch) -> Tensor:
        """See :func:`next_item_loss`."""
        return next_item_loss(self._model.logits, batch)

    def validate(self) -> float:
        """See ``training.Task``."""
        return self._validate()

    def _windows(self, user: int, rng: np.random.Generator) -> Iterator[tuple[int, Ints]]:
        """Consecutive windows of at most ``history_length`` + 1 items: each item is the target of exactly one."""
        items, size = self._sequences[user], self._config.history_length + 1
        if not self._config.ordered:
            items = rng.permutation(items)
        offset = int(rng.integers(size)) if len(items) > size else 0
        for start in range(-offset, len(items), size):
            yield user, items[max(start, 0) : start + size]

    def _batch(self, windows: list[tuple[int, Ints]]) -> Batch:
        length = max(len(window) for _, window in windows)
        tokens = np.full((len(windows), length), start_token(self._model.n_items), dtype=np.int64)
        targets = np.full((len(windows), length), IGNORED, dtype=np.int64)
        for row, (_, window) in enumerate(windows):
            tokens[row, 1 : len(window)] = window[:-1]  # the start token predicts the window's first item
            targets[row, : len(window)] = window
        return {
            "tokens": torch.from_numpy(tokens),
            TARGETS: torch.from_numpy(targets),
            "weights": torch.from_numpy(self._weights[[user for user, _ in windows]]),
        }


def next_item_loss(logits_of: Callable[[Tensor, Tensor], Tensor], batch: Batch) -> Tensor:
    """Weighted mean of ``models.training.losses.next_item_losses`` over all positions of the batch that have a target.

    Args:
        logits_of: of the batch's ``tokens``, and where (b, length) there are targets: (m, n_items) scores there.
        batch: ``tokens``, ``targets`` (b, length), ``weights`` (b,).
    """
    where = batch[TARGETS] != IGNORED
    with mixed_precision(where.device):
        logits = logits_of(batch["tokens"], where)
    losses = next_item_losses(logits, batch[TARGETS])
    weights = batch["weights"].unsqueeze(1).expand_as(where)[where]
    return (losses * weights).sum() / weights.sum()


@dataclass(frozen=True)
class NextItemScorer:
    """Scores all items with a next-item model; see ``models.types.Scorer``. ``exact`` keeps float32 throughout."""

    model: NextItemModel
    history_length: int
    device: torch.device
    exact: bool = True

    @torch.inference_mode()
    def scores(self, histories: Sequences) -> Floats:
        """(n, n_items) scores of the item after each history."""
        scores = np.empty((len(histories), self.model.n_items), np.float32)
        shortest_first = np.argsort(np.diff(histories.offsets), kind="stable")  # so that batches need little padding
        for at in range(0, len(histories), SCORING_BATCH):
            rows = shortest_first[at : at + SCORING_BATCH]
            scores[rows] = self._batch_scores([histories[row] for row in rows.tolist()])
        return scores

    def _batch_scores(self, histories: list[Ints]) -> Floats:
        tokens, ends = prompt_batch(histories, self.model.n_items, self.history_length)
        with mixed_precision(self.device, enabled=not self.exact):
            logits = self.model.logits(tokens.to(self.device), ends.to(self.device))
        scores: Floats = logits.float().cpu().numpy()
        return scores
