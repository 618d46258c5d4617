"""Training the title form on cached trunk states; see ``models.llm.title``.

Windows are the same in every epoch, because the trunk's states of a token depend on all that stands before it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.contract.prompts import TitleTokens
from models.contract.types import Floats, Ints
from models.llm.next_item import next_item_loss
from models.llm.title import CachedTitleModel
from models.llm.training import IGNORED, TARGETS, Batch
from models.llm.trunk_cache import TokenPrompts, TrunkCache
from models.training.batching import of_like_lengths
from models.training.device import mixed_precision
from models.types import Examples, Score, Sequences

SCORING_BATCH = 32  # histories


@dataclass(frozen=True)
class TitleWindows:
    """What the title form is trained on.

    Args:
        users: (n,) whose window it is, as a row of the sequences that were cut.
        items: n windows; the start predicts the first item, each item the one after it.
    """

    users: NDArray[np.int64]
    items: tuple[Ints, ...]

    @staticmethod
    def cut(sequences: Sequences, history_length: int, newest: int) -> "TitleWindows":
        """Consecutive windows of at most ``history_length`` + 1 items, counted from the end; at most ``newest`` a user.

        So each of a user's newest items is the target of exactly one window.
        """
        pairs = [
            (user, window)
            for user in range(len(sequences))
            for window in _newest_windows(sequences[user], history_length + 1, newest)
        ]
        return TitleWindows(np.asarray([user for user, _ in pairs], np.int64), tuple(window for _, window in pairs))

    def __len__(self) -> int:
        return len(self.items)

    def prompts(self, titles: TitleTokens) -> TokenPrompts:
        """What the trunk reads: the start and all but each window's last item."""
        return TokenPrompts.of([titles.prompt(window[:-1]) for window in self.items])

    def targets(self, row: int, titles: TitleTokens) -> NDArray[np.int64]:
        """(n_tokens,) what each token of a window's prompt predicts: at the ends of items an item, else ``IGNORED``."""
        window = self.items[row]
        ends = titles.ends(window[:-1])
        targets = np.full(ends[-1] + 1, IGNORED, np.int64)
        targets[ends] = window
        return targets


@dataclass(frozen=True)
class CachedWindows:
    """Windows, and the trunk's states of their prompts, row by row."""

    windows: TitleWindows
    titles: TitleTokens
    cache: TrunkCache


class CachedTask:
    """Trains adapters and head over cached trunk states; see ``training.Task``.

    Args:
        model: what is trained.
        groups: its parameters, as AdamW's groups.
        data: all windows.
        user_weights: (n_users,) weight of each user's loss; windows of users with 0 are left out.
        batch_size: windows in an update.
        seed: of the order.
        validate: quality of the model as it stands, higher is better.
    """

    def __init__(
        self,
        *,
        model: CachedTitleModel,
        groups: list[dict[str, Any]],
        data: CachedWindows,
        user_weights: Floats,
        batch_size: int,
        seed: int,
        validate: Callable[[], float],
    ) -> None:
        self._model = model
        self._groups = groups
        self._data = data
        self._weights = user_weights[data.windows.users].astype(np.float32)
        self._rows = np.flatnonzero(self._weights > 0)
        self._batch_size = batch_size
        self._seed = seed
        self._validate = validate

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See ``training.Task``."""
        return self._groups

    def batches(self, epoch: int) -> list[Batch]:
        """All windows in a new order every epoch, those of like length together, see ``models.training.batching``.

        States are read when it is time.
        """
        rng = np.random.default_rng([self._seed, epoch])
        lengths = np.diff(self._data.cache.prompts.offsets)[self._rows]
        return [self._batch(self._rows[rows]) for rows in of_like_lengths(lengths, self._batch_size, rng)]

    def loss(self, batch: Batch) -> Tensor:
        """See :func:`models.llm.next_item.next_item_loss`."""
        return next_item_loss(self._logits, batch)

    def validate(self) -> float:
        """See ``training.Task``."""
        return self._validate()

    def _logits(self, rows: Tensor, where: Tensor) -> Tensor:
        return self._model.logits(_inputs(self._data.cache, rows.tolist(), where.device), where)

    def _batch(self, rows: NDArray[np.int64]) -> Batch:
        data = self._data
        targets = [torch.from_numpy(data.windows.targets(int(row), data.titles)) for row in rows]
        return {
            "tokens": torch.from_numpy(rows),
            TARGETS: pad_sequence(targets, batch_first=True, padding_value=IGNORED),
            "weights": torch.from_numpy(self._weights[rows]),
        }


def cached_score(model: CachedTitleModel, cache: TrunkCache, device: torch.device) -> Score:
    """Scores of examples whose ``users`` are rows of a cache that holds their histories' prompts."""

    @torch.inference_mode()
    def score(examples: Examples) -> Floats:
        starts = range(0, len(examples), SCORING_BATCH)
        parts = [_last_scores(model, cache, examples.users[s : s + SCORING_BATCH].tolist(), device) for s in starts]
        return np.concatenate(parts)

    return score


def _last_scores(model: CachedTitleModel, cache: TrunkCache, rows: Sequence[int], device: torch.device) -> Floats:
    inputs = _inputs(cache, rows, device)
    where = torch.zeros(inputs.shape[:2], dtype=torch.bool, device=device)
    where[torch.arange(len(rows)), [len(cache.prompts[row]) - 1 for row in rows]] = True
    with mixed_precision(device):
        scores: Floats = model.logits(inputs, where).float().cpu().numpy()
    return scores


def _inputs(cache: TrunkCache, rows: Sequence[int], device: torch.device) -> Tensor:
    return cache.read(rows).to(device=device, dtype=torch.float32)


def _newest_windows(items: Ints, size: int, newest: int) -> Iterator[Ints]:
    for end in range(len(items), max(len(items) - size * newest, 0), -size):
        yield items[max(end - size, 0) : end]
