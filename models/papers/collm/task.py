"""What CoLLM is tuned and measured on: labelled pairs as prompts, in batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from models.cf.pointwise.train import pairs_of
from models.cf.pointwise.types import Pairs
from models.contract.types import Floats
from models.data.labelled import LabelledPairs
from models.llm.training import IGNORED, TARGETS, Batch
from models.papers.collm.config import CoLLMConfig
from models.papers.collm.model import CoLLM
from models.papers.collm.prompts import PairPrompts
from models.training.batching import of_like_lengths, shortest_first
from models.training.device import differentiated_attention, mixed_precision

SCORING_BATCH = 32  # pairs


@dataclass(frozen=True)
class PromptedPairs:
    """Pairs of one split with their prompts.

    Args:
        pairs: see :class:`LabelledPairs`.
        prompts: make their token ids.
        n_items: of the catalogue.
        cf_history: items of a history that the collaborative model reads, at most.
    """

    pairs: LabelledPairs
    prompts: PairPrompts
    n_items: int
    cf_history: int

    def __len__(self) -> int:
        return len(self.pairs)

    def lengths(self) -> NDArray[np.int64]:
        """(n,) tokens of each prompt."""
        return np.asarray([len(ids) for ids in self.prompts(self.pairs, range(len(self)))], np.int64)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Some of the pairs, ``TARGETS`` (b, t) being the label at each prompt's last token and else ``IGNORED``."""
        prompts = [torch.from_numpy(ids.astype(np.int64)) for ids in self.prompts(self.pairs, rows.tolist())]
        targets = [torch.full((len(ids),), IGNORED) for ids in prompts]
        for row, target in zip(rows, targets, strict=True):
            target[-1] = int(self.pairs.labels[row])
        pairs = pairs_of(self.pairs, rows, self.n_items, self.cf_history)
        return {
            "tokens": pad_sequence(prompts, batch_first=True),
            TARGETS: pad_sequence(targets, batch_first=True, padding_value=IGNORED),
            "users": pairs.users,
            "items": pairs.items,
            "histories": pairs.histories,
        }

    def take(self, rows: NDArray[np.int64]) -> "PromptedPairs":
        """Some of the pairs."""
        return replace(self, pairs=self.pairs.take(rows))

    def sample(self, n: int, seed: int) -> "PromptedPairs":
        """At most ``n`` of the pairs, drawn, in their order."""
        if len(self) <= n:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), size=n, replace=False)))


class CoLLMTask:
    """Binary cross-entropy on the answer's logit (equations 4 and 5); see ``models.llm.training.Task``.

    Args:
        model: what is tuned.
        groups: its parameters, as AdamW's groups.
        train: pairs.
        config: batches and epochs.
        validate: quality of the model as it stands, higher is better.
    """

    def __init__(
        self,
        model: CoLLM,
        groups: list[dict[str, Any]],
        train: PromptedPairs,
        config: CoLLMConfig,
        validate: Callable[[], float],
    ) -> None:
        self._model = model
        self._groups = groups
        self._train = train
        self._lengths = train.lengths()
        self._config = config
        self._validate = validate

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See ``training.Task``."""
        return self._groups

    def batches(self, epoch: int) -> list[Batch]:
        """The epoch's updates, of passes over all pairs, each in an order of its own."""
        first = epoch * self._config.iterations
        return [self._train.batch(self._rows(first + number)) for number in range(self._config.iterations)]

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the batch."""
        where = batch[TARGETS] != IGNORED
        with mixed_precision(where.device), differentiated_attention(where.device):
            logits = self._model(batch["tokens"], where, pairs_in(batch))
        return F.binary_cross_entropy_with_logits(logits, batch[TARGETS][where].float())

    def validate(self) -> float:
        """See ``training.Task``."""
        return self._validate()

    def _rows(self, update: int) -> NDArray[np.int64]:
        a_pass, number = divmod(update, -(-len(self._lengths) // self._config.batch_size))
        return self._passes(a_pass)[number]

    def _passes(self, number: int) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng([self._config.seed, number])
        return of_like_lengths(self._lengths, self._config.batch_size, rng)


def pairs_in(batch: Batch) -> Pairs:
    """What a batch's prompts are about."""
    return Pairs(batch["users"], batch["items"], batch["histories"])


@torch.inference_mode()
def scores_of(model: CoLLM, prompted: PromptedPairs, device: torch.device, *, exact: bool = False) -> Floats:
    """Logits (n,) of pairs by a model that is where ``device`` says; ``exact`` keeps float32 throughout."""
    scores = np.empty(len(prompted), np.float32)
    for rows in shortest_first(prompted.lengths(), SCORING_BATCH):
        batch = {name: value.to(device) for name, value in prompted.batch(rows).items()}
        with mixed_precision(device, enabled=not exact):
            logits = model(batch["tokens"], batch[TARGETS] != IGNORED, pairs_in(batch))
        scores[rows] = logits.float().cpu().numpy()
    return scores


def sigmoid(logits: Floats) -> Floats:
    """Probabilities of the label 1."""
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))), np.float32)


def mean_probability(scores: Sequence[Floats]) -> Floats:
    """An ensemble of logits: the mean of their probabilities (Table III)."""
    return np.asarray(np.mean([sigmoid(each) for each in scores], axis=0), np.float32)
