"""The task of L2Rec's training: batches of examples and items, and the three losses (section 2.3)."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.contract.errors import DataError
from models.contract.types import Ints
from models.evaluation.metrics import mean_ndcg
from models.llm.training import TARGETS, Batch
from models.networks.l2rec import Views
from models.networks.l2rec_losses import balancing_loss, preference_loss, recommendation_loss
from models.papers.l2rec.config import L2RecConfig
from models.papers.l2rec.data import L2RecData, user_embeddings
from models.papers.l2rec.scoring import L2RecScorer, Reader, padded
from models.training.batching import of_like_lengths
from models.training.device import mixed_precision
from models.types import Examples, by_history

NOTHING = -1  # pads item numbers


class L2RecTask:
    """Trains an L2Rec; see ``models.llm.training.Task``. An epoch is ``evaluate_every`` updates.

    A user is the CF model's fold-in of the history before the target, and never of the target. An item is read as a
    history of itself, of nobody; of a batch's targets and sampled negatives each item is read once, and all of them but
    those of the user's own train part are everybody's negatives (equation 8's in-batch augmentation).

    Args:
        config: see :class:`L2RecConfig`.
        reader: of the network that is trained, where its parameters are.
        data: see :class:`L2RecData`.

    Raises:
        DataError: no user has two items in the train part.
    """

    def __init__(self, config: L2RecConfig, reader: Reader, data: L2RecData) -> None:
        self._config = config
        self._reader = reader
        self._data = data
        if np.diff(data.dataset.train.offsets).max(initial=0) < 2:
            raise DataError("no user has two items in the train part; expected one to read and one to predict")
        self._valid = data.dataset.examples("valid").sample(config.valid_examples, config.seed)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See ``models.llm.training.Task``. Experts have no decay."""
        network, config = self._reader.network, self._config
        experts = [p for name, p in network.named_parameters() if _is_expert(name)]
        others = [p for name, p in network.named_parameters() if not _is_expert(name)]
        return [
            {"params": experts, "lr": config.learning_rate, "weight_decay": 0.0},
            {"params": others, "lr": config.learning_rate, "weight_decay": config.weight_decay},
        ]

    def batches(self, epoch: int) -> list[Batch]:
        """The next ``evaluate_every`` batches of the passes over all users, each in a new order."""
        config, found = self._config, list[Batch]()
        first = epoch * config.evaluate_every
        last = min(first + config.evaluate_every, config.steps)
        step, number = 0, 0
        while step < last:
            rows = self._pass(number)
            chosen = range(max(first - step, 0), min(last - step, len(rows)))
            found += [self._batch(rows[row], step + row) for row in chosen]
            step, number = step + len(rows), number + 1
        return found

    def loss(self, batch: Batch) -> Tensor:
        """L = L_rec + λ₁ L_BPC + λ₂ L_bal."""
        network, config = self._reader.network, self._config
        with mixed_precision(batch[TARGETS].device):
            users: Views = network(batch["tokens"], batch["lengths"], batch["users"])
            items: Views = network(batch["item_tokens"], batch["item_lengths"], batch["nobody"])
        loss = recommendation_loss(
            users.fused, items.fused, batch[TARGETS], batch["items"], config.temperature, batch["own"]
        )
        if config.bpc_weight and users.semantic is not None and users.behavioural is not None:
            views = preference_loss(users.semantic, users.behavioural, config.temperature, batch["owners"])
            loss = loss + config.bpc_weight * views
        routes = [*users.routes.values(), *items.routes.values()]
        return loss + config.balance_weight * balancing_loss(routes) if config.balance_weight and routes else loss

    def validate(self) -> float:
        """NDCG of the validation examples, full ranking."""
        scorer = L2RecScorer(self._reader, self._reader.item_rows(), self._data.cf)
        return mean_ndcg(by_history(scorer), self._valid, self._config.valid_cutoff or None)

    def _pass(self, number: int) -> list[NDArray[np.int64]]:
        """One pass's batches: places of targets, those of histories of about the same length together."""
        rng = np.random.default_rng([self._config.seed, number])
        places = self._data.draw(self._config.prefixes, rng)
        before = places - self._data.dataset.train.offsets[self._data.owners[places]]
        lengths = np.minimum(before, self._config.history_length)
        batches = [places[rows] for rows in of_like_lengths(lengths, self._config.batch_size, rng)]
        return [rows for rows in batches if len(rows) == self._config.batch_size] or batches

    def _batch(self, places: NDArray[np.int64], step: int) -> Batch:
        examples = self._data.examples(places)
        rng = np.random.default_rng([self._config.seed, step, self._config.negatives])
        negatives = rng.integers(self._reader.prompts.titles.n_items, size=len(places) * self._config.negatives)
        items = np.unique(np.concatenate([examples.targets, negatives]))
        tokens, lengths = padded([self._reader.prompts.prompt(row) for row in _histories(examples)])
        item_tokens, item_lengths = padded([self._reader.prompts.prompt([item]) for item in items.tolist()])
        return {
            "tokens": tokens,
            "lengths": lengths,
            "users": torch.from_numpy(user_embeddings(self._data.cf, examples.histories)),
            "owners": torch.from_numpy(examples.users),
            "own": torch.from_numpy(self._own(examples.users)),
            "item_tokens": item_tokens,
            "item_lengths": item_lengths,
            "items": torch.from_numpy(items.astype(np.int64)),
            "nobody": torch.zeros(len(items), self._reader.user_size),
            TARGETS: torch.from_numpy(np.searchsorted(items, examples.targets)),
        }

    def _own(self, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """(b, k) items of the users' train parts, padded."""
        train = self._data.dataset.train
        own = np.full((len(users), int(np.diff(train.offsets)[users].max())), NOTHING, np.int64)
        for row, user in enumerate(users.tolist()):
            own[row, : len(train[user])] = train[user]
        return own


def _is_expert(name: str) -> bool:
    return name.rsplit(".", 1)[-1] in ("a", "b")


def _histories(examples: Examples) -> list[Ints]:
    return [examples.histories[row] for row in range(len(examples))]
