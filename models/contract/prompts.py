"""How a user's history becomes what the language model reads. Built once, here, for training, evaluation and serving.

Item-token form: the vocabulary is the catalogue. Token ids 0 … n_items - 1 are the item numbers; ``n_items`` is the
start token, so that an empty history has a prompt too.

Title form: the vocabulary is the backbone's words, then the catalogue. A prompt is text, the titles of the history; an
answer is items, whose token ids begin at ``item_offset``, the number of words. Every word's row of the output head is
the mean of the items' rows: a word scores the items' mean, and the best items are always above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from models.contract.bundle import TITLE_TOKENS, Bundle
from models.contract.errors import BundleError
from models.contract.types import Floats, Ints


class Prompts(Protocol):
    """The prompts of one model, whichever its form."""

    @property
    def item_offset(self) -> int:
        """Token id of item 0; the others follow in the order of their numbers."""
        ...

    def prompt(self, history: Sequence[int] | Ints) -> list[int]:
        """Token ids of a history (item numbers, oldest first), of which only the newest items are read."""
        ...


@dataclass(frozen=True)
class ItemPrompts:
    """Prompts of the item-token form."""

    n_items: int
    history_length: int
    item_offset: int = 0

    def prompt(self, history: Sequence[int] | Ints) -> list[int]:
        """See :class:`Prompts`."""
        return item_prompt(history, self.n_items, self.history_length)


@dataclass(frozen=True)
class TitleTokens:
    """What each item of a catalogue looks like in a prompt of the title form.

    Args:
        start: token ids that begin every prompt, at least one, so that an empty history has one too: a token in the
            title form, an instruction in HatLLM's prompts.
        offsets: (n_items + 1,) int64: item i's token ids are ``ids[offsets[i]:offsets[i + 1]]``.
        ids: the items' titles, each with the separator that ends it: its state predicts the next item.
        n_words: size of the backbone's vocabulary; the items' token ids begin there.
    """

    start: tuple[int, ...]
    offsets: NDArray[np.int64]
    ids: Ints
    n_words: int

    @property
    def n_items(self) -> int:
        return len(self.offsets) - 1

    @property
    def longest(self) -> int:
        """Tokens of the longest item."""
        return int(np.diff(self.offsets).max(initial=0))

    def prompt(self, items: Sequence[int] | Ints) -> Ints:
        """Token ids (int32) of the start and all of ``items``."""
        parts = [self.ids[self.offsets[item] : self.offsets[item + 1]] for item in items]
        return np.concatenate([np.asarray(self.start, np.int32), *parts])

    def ends(self, items: Sequence[int] | Ints) -> NDArray[np.int64]:
        """(len(items) + 1,) places in :meth:`prompt` whose states predict: the start, and each item's last token."""
        chosen = np.asarray(items, dtype=np.int64)
        lengths = self.offsets[chosen + 1] - self.offsets[chosen]
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64) + len(self.start) - 1

    def save(self, directory: Path) -> None:
        """Write ``title_tokens.safetensors``."""
        scalars = np.asarray([*self.start, self.n_words], np.int64)
        save_file({"offsets": self.offsets, "ids": self.ids, "start_and_n_words": scalars}, directory / TITLE_TOKENS)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read ``title_tokens.safetensors``. Raises BundleError where it is missing or malformed."""
        path = directory / TITLE_TOKENS
        try:
            tensors = load_file(path)
            *start, n_words = tensors["start_and_n_words"].tolist()
            titles = cls(tuple(start), tensors["offsets"], tensors["ids"], n_words)
        except (OSError, KeyError, ValueError, SafetensorError) as exc:
            raise BundleError(f"{path}: {exc}") from exc
        if not titles._fits_together():
            raise BundleError(f"{path}: offsets and token ids do not fit together")
        return titles

    def _fits_together(self) -> bool:
        lengths, words = np.diff(self.offsets), np.append(self.ids, self.start)
        spans = (
            len(self.start) > 0 and len(self.offsets) > 0 and self.offsets[0] == 0 and self.offsets[-1] == len(self.ids)
        )
        return bool(spans and (lengths > 0).all() and (words >= 0).all() and (words < self.n_words).all())


@dataclass(frozen=True)
class TitlePrompts:
    """Prompts of the title form."""

    titles: TitleTokens
    history_length: int

    @property
    def item_offset(self) -> int:
        return self.titles.n_words

    def prompt(self, history: Sequence[int] | Ints) -> list[int]:
        """See :class:`Prompts`."""
        tokens: list[int] = self.titles.prompt(newest(history, self.history_length)).tolist()
        return tokens


def load_prompts(bundle: Bundle) -> Prompts:
    """How the model of a bundle reads histories. Raises BundleError where the bundle's title tokens do not fit."""
    model = bundle.manifest.model
    if model.form == "item-token":
        return ItemPrompts(model.n_items, model.history_length)
    titles = TitleTokens.load(bundle.directory)
    if titles.n_items != model.n_items or titles.longest > model.item_tokens:
        raise BundleError(
            f"{bundle.id}: {TITLE_TOKENS} holds {titles.n_items} items of up to {titles.longest} tokens,"
            f" expected {model.n_items} of up to {model.item_tokens}"
        )
    return TitlePrompts(titles, model.history_length)


def start_token(n_items: int) -> int:
    """Item-token form: token id of the start of a history."""
    return n_items


def item_prompt(history: Sequence[int] | Ints, n_items: int, history_length: int) -> list[int]:
    """Item-token form: token ids of the newest items of a history (oldest first), after the start token."""
    return [start_token(n_items), *(int(item) for item in newest(history, history_length))]


def newest(history: Sequence[int] | Ints, n: int) -> Sequence[int] | Ints:
    """The last ``n`` items of a history."""
    return history[-n:] if n else history[:0]


def above_words(scores: Floats) -> Floats:
    """Title form: scores (n, n_items) of the items that an answer can name, -inf for those no better than a word."""
    return np.where(scores > scores.mean(axis=1, keepdims=True), scores, np.float32(-np.inf))
