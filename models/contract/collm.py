"""CoLLM's prompts (Zhang et al., "CoLLM: Integrating Collaborative Embeddings …", TKDE 2025, section IV-A1).

The vocabulary is the backbone's words, then one token for each user known at training, then one for each item: their
rows of the input embedding are the mapped collaborative vectors (equation 3), constants after training. A prompt is a
list of token ids: the template's text in pieces, the titles, and in the two feature slots the user's and the item's
token. Without what fills a slot, both features' text is left out: the prompt of the first tuning step.

All candidates' prompts of a user are equal up to the candidate's title, so servers that cache prefixes read the history
once.

Files of the bundle's part ``collm/``:

```
checkpoint/               words and features, layers, final norm: an ordinary causal language model
adapters/collm/           the adapter of the first tuning step
prompts.safetensors       this
probe.safetensors         see models.contract.probe
```
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from models.contract.errors import BundleError
from models.contract.prompts import newest
from models.contract.redis_schema import item_hash
from models.contract.types import Array, Ints

PART: Literal["collm"] = "collm"
PROMPTS = "prompts.safetensors"

# The template. Each piece is tokenized by itself, so that a prompt is the same however it is put together.
TEXTS: Mapping[str, str] = {
    "opening": "#Question: A user has given high ratings to the following items:",
    "nothing": " none",  # in the place of the titles of an empty history
    "comma": ",",
    "user": ". Additionally, we have information about the user's preferences encoded in the feature",
    "question": (
        ". Using all available information, make a prediction about whether the user would enjoy the item titled"
    ),
    "item": " with the feature",
    "closing": '? Answer with "Yes" or "No". \n#Answer:',
}
TITLE = ' "{}"'  # around a title, which is cleaned before
ANSWER = " Yes"


@dataclass(frozen=True)
class CoLLMPrompts:
    """All prompts of one model.

    Args:
        pieces: token ids of each of ``TEXTS``.
        offsets: (n_items + 1,) int64: item i's title is ``ids[offsets[i]:offsets[i + 1]]``.
        ids: the titles' token ids, quoted as ``TITLE`` says.
        n_words: size of the backbone's vocabulary; the users' tokens begin there, the items' follow.
        users: (n_users,) uint64 hashes of the users' ids, by row.
        known_items: (n_items,) bool, items that the collaborative model has met in training.
        history_length: titles of a history at most, the newest.
    """

    pieces: Mapping[str, Ints]
    offsets: NDArray[np.int64]
    ids: Ints
    n_words: int
    users: NDArray[np.uint64]
    known_items: NDArray[np.bool_]
    history_length: int

    @property
    def n_items(self) -> int:
        return len(self.offsets) - 1

    @property
    def vocabulary_size(self) -> int:
        return self.n_words + len(self.users) + self.n_items

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt that there can be."""
        title = int(np.diff(self.offsets).max(initial=0))
        commas = max(self.history_length - 1, 0) * len(self.pieces["comma"])
        history = max(self.history_length * title + commas, len(self.pieces["nothing"]))
        others = (len(self.pieces[name]) for name in ("opening", "user", "question", "item", "closing"))
        return sum(others) + history + title + 2

    def user_row(self, user_id: str) -> int | None:
        """Row of a user, None for one that was not there at training."""
        hashes, order = self._sorted_users
        wanted = np.uint64(item_hash(user_id))
        at = int(np.searchsorted(hashes, wanted))
        return int(order[at]) if at < len(hashes) and hashes[at] == wanted else None

    def prompts(self, history: Sequence[int] | Ints, candidates: Sequence[int] | Ints, user: int | None) -> list[Ints]:
        """Token ids (int32) of each candidate's prompt.

        Args:
            history: item numbers that the user liked, oldest first.
            candidates: item numbers.
            user: the user's row; None: not known, so that the prompts have text alone.
        """
        beginning = self._history(history)
        bare = np.concatenate([beginning, self.pieces["question"]])
        if user is None:
            return [self._ended(bare, int(item), ()) for item in candidates]
        token = np.asarray([self.n_words + user], np.int32)
        full = np.concatenate([beginning, self.pieces["user"], token, self.pieces["question"]])
        return [self._candidate(full, bare, int(item)) for item in candidates]

    def title(self, item: int) -> Ints:
        """Token ids of an item's title."""
        return self.ids[self.offsets[item] : self.offsets[item + 1]]

    def item_token(self, item: int) -> int:
        """Token id that stands for an item's collaborative vector."""
        return self.n_words + len(self.users) + item

    def _candidate(self, full: Ints, bare: Ints, item: int) -> Ints:
        if not self.known_items[item]:
            return self._ended(bare, item, ())
        feature = np.asarray([self.item_token(item)], np.int32)
        return self._ended(full, item, (self.pieces["item"], feature))

    def _ended(self, beginning: Ints, item: int, feature: Sequence[Ints]) -> Ints:
        return np.concatenate([beginning, self.title(item), *feature, self.pieces["closing"]]).astype(np.int32)

    def _history(self, history: Sequence[int] | Ints) -> Ints:
        parts = [self.pieces["opening"]]
        for place, item in enumerate(newest(history, self.history_length)):
            parts += [self.pieces["comma"], self.title(int(item))] if place else [self.title(int(item))]
        return np.concatenate(parts if len(parts) > 1 else [*parts, self.pieces["nothing"]])

    @cached_property
    def _sorted_users(self) -> tuple[Array, Array]:
        order = np.argsort(self.users, kind="stable")
        return self.users[order], order

    def save(self, directory: Path) -> None:
        """Write ``prompts.safetensors``."""
        tensors: dict[str, Array] = {f"piece/{name}": ids.astype(np.int32) for name, ids in self.pieces.items()}
        tensors |= {"offsets": self.offsets, "ids": self.ids, "users": self.users, "known_items": self.known_items}
        tensors["numbers"] = np.asarray([self.n_words, self.history_length], np.int64)
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, directory / PROMPTS)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read ``prompts.safetensors``. Raises BundleError where it is missing or malformed."""
        path = directory / PROMPTS
        try:
            tensors = load_file(path)
            pieces = {name: tensors[f"piece/{name}"] for name in TEXTS}
            n_words, history_length = tensors["numbers"].tolist()
            arrays = (tensors[name] for name in ("offsets", "ids", "users", "known_items"))
            offsets, ids, users, known_items = arrays
        except (OSError, KeyError, ValueError, SafetensorError) as exc:
            raise BundleError(f"{path}: {exc}") from exc
        prompts = cls(pieces, offsets, ids, n_words, users, known_items, history_length)
        if not prompts._fits_together():
            raise BundleError(f"{path}: offsets, token ids and items do not fit together")
        return prompts

    def _fits_together(self) -> bool:
        spans = len(self.offsets) > 0 and self.offsets[0] == 0 and self.offsets[-1] == len(self.ids)
        words = np.concatenate([self.ids, *self.pieces.values()])
        within = bool((words >= 0).all() and (words < self.n_words).all())
        return bool(spans and within and (np.diff(self.offsets) > 0).all() and len(self.known_items) == self.n_items)
