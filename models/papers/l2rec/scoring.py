"""Scores of an L2Rec, in training and exported: what the service ranks, item by item."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM

from models.contract.bundle import CHECKPOINT
from models.contract.cf import CFModel
from models.contract.errors import BundleError
from models.contract.l2rec import CONFIG_KEY, ITEM_ROWS, PART, L2RecLayout
from models.contract.prompts import TitlePrompts, TitleTokens
from models.contract.types import Floats, Ints
from models.networks.l2rec import L2RecNetwork
from models.networks.l2rec_files import load_experts, read_experts_config
from models.papers.hatllm.scoring import HISTORY_LENGTH
from models.papers.l2rec.data import user_embeddings
from models.training.batching import shortest_first
from models.training.device import mixed_precision, training_device
from models.types import Sequences

READING_BATCH = 32  # prompts

Encode = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What a network makes of tokens (b, n), lengths (b,) and users (b, user_size): vectors (b, d) of length 1."""


@dataclass(frozen=True)
class Reader:
    """Reads histories, and items, with a network that is where its parameters are.

    Args:
        network: reads prompts.
        prompts: what histories look like.
        exact: float32 throughout; else as in training.
    """

    network: L2RecNetwork
    prompts: TitlePrompts
    exact: bool = False

    @property
    def user_size(self) -> int:
        """Numbers of a user's embedding."""
        return self.network.config.user_size

    def vectors(self, histories: Sequences, users: Floats) -> Floats:
        """(n, d) float32 of length 1 for n histories, none of them empty, of users (n, user_size)."""
        return self._read([histories[row] for row in range(len(histories))], users, self._fused)

    def item_rows(self) -> Floats:
        """(n_items, d) float32 of length 1: each item, read as a history of itself, of nobody."""
        return self._read(self._items(), self._nobody(self.prompts.titles.n_items), self._fused)

    def base_vectors(self, histories: Sequences) -> Floats:
        """The same as :meth:`vectors` without any expert: nobody in particular reads."""
        chosen = [histories[row] for row in range(len(histories))]
        return self._read(chosen, self._nobody(len(chosen)), self._base)

    def base_item_rows(self) -> Floats:
        """The same as :meth:`item_rows` without any expert."""
        return self._read(self._items(), self._nobody(self.prompts.titles.n_items), self._base)

    def _items(self) -> list[Ints]:
        return [np.asarray([item], np.int32) for item in range(self.prompts.titles.n_items)]

    def _nobody(self, n: int) -> Floats:
        return np.zeros((n, self.user_size), np.float32)

    def _fused(self, tokens: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        fused: Tensor = self.network(tokens, lengths, users).fused
        return fused

    def _base(self, tokens: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        return self.network.base(tokens, lengths)

    @torch.inference_mode()
    def _read(self, histories: Sequence[Ints], users: Floats, encode: Encode) -> Floats:
        prompts = [self.prompts.prompt(history) for history in histories]
        device = next(self.network.parameters()).device
        read = np.empty((len(prompts), self.network.config.size), np.float32)
        sizes = np.asarray([len(prompt) for prompt in prompts], np.int64)
        for rows in shortest_first(sizes, READING_BATCH):
            tokens, lengths = padded([prompts[row] for row in rows.tolist()])
            with mixed_precision(device, enabled=not self.exact):
                fused = encode(tokens.to(device), lengths.to(device), torch.from_numpy(users[rows]).to(device))
            read[rows] = fused.float().cpu().numpy()
        return read


@dataclass(frozen=True)
class L2RecScorer:
    """A trained model; see ``models.types.Scorer``.

    Args:
        reader: of its network.
        item_rows: (n_items, d) float32 of length 1.
        cf: of the same items: who a user is.
    """

    reader: Reader
    item_rows: Floats
    cf: CFModel

    @classmethod
    def load(cls, part: Path, cf: CFModel) -> Self:
        """Load the bundle's part in a directory, see :mod:`models.contract.l2rec`, in float32.

        Raises:
            BundleError: a file is missing or malformed, or ``cf`` is not the model whose users the part knows.
        """
        reader = load_reader(part)
        try:
            rows = np.load(part / ITEM_ROWS, allow_pickle=False)
        except (OSError, ValueError) as exc:
            raise BundleError(f"{part / ITEM_ROWS}: {exc}") from exc
        if (cf.embedding_size, cf.n_items) != (reader.user_size, len(rows)):
            raise BundleError(
                f"{part}: knows {len(rows)} items, and users by {reader.user_size} numbers; the CF model has"
                f" {cf.n_items} items and {cf.embedding_size} numbers"
            )
        return cls(reader, rows, cf)

    @property
    def n_items(self) -> int:
        return len(self.item_rows)

    def scores(self, histories: Sequences) -> Floats:
        """(n, n_items) scores of the item after each history; -inf of all items after an empty one."""
        scores = np.full((len(histories), self.n_items), -np.inf, np.float32)
        rows = _with_items(histories)
        scores[rows] = self.states(histories.take(rows)) @ self.item_rows.T
        return scores

    def states(self, histories: Sequences) -> Floats:
        """(n, d) float32 of length 1: the users whom histories, none of them empty, tell of."""
        return self.reader.vectors(histories, self.users(histories))

    def users(self, histories: Sequences) -> Floats:
        """(n, user_size): what routers are told of the users."""
        return user_embeddings(self.cf, histories)

    def base_scores(self, histories: Sequences) -> Floats:
        """The same as :meth:`scores` by the base model, whose vectors of users are compared with the trained items'."""
        return self.reader.base_vectors(histories) @ self.item_rows.T


def load_reader(part: Path) -> Reader:
    """What reads, of a bundle's part, in float32. Raises BundleError where a file is missing or malformed."""
    titles, checkpoint, adapter = TitleTokens.load(part), part / CHECKPOINT, part / "adapters" / PART
    try:
        described = json.loads((checkpoint / "config.json").read_text())[CONFIG_KEY]
        history_length = int(described[HISTORY_LENGTH])
        model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    except (OSError, KeyError, TypeError, ValueError) as exc:
        raise BundleError(f"{checkpoint}: no L2Rec: {exc!r}") from exc
    decoder = model.model.to(training_device())
    network = L2RecNetwork(decoder, L2RecLayout.of_config(described), read_experts_config(adapter))
    load_experts(network, adapter)
    return Reader(network.to(training_device()).eval(), TitlePrompts(titles, history_length), exact=True)


def padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Prompts as rows (b, n) int64, padded on the right, and their lengths (b,)."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], dtype=torch.int64)
    tokens = torch.zeros((len(prompts), int(lengths.max())), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.as_tensor(prompt)
    return tokens, lengths


def _with_items(histories: Sequences) -> NDArray[np.int64]:
    """Rows of histories that are not empty."""
    return np.flatnonzero(np.diff(histories.offsets)).astype(np.int64)
