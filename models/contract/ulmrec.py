"""ULMRec's prompts (Shao et al., "ULMRec: User-centric Large Language Model …", 2025).

The vocabulary is the backbone's words, then one token for each code of each level of the user index: level l's code c
is ``n_words + l * codes + c``. A prompt is a list of token ids, put together from pieces that are tokenized by
themselves: the instruction, which is the same for everyone, the user's index, the history's titles, oldest first, and
the candidates, each behind a letter. The next token's logits of the letters rank the candidates (the verbalizer of
LlamaRec). Without an index, its part of the prompt is left out: that is LlamaRec's own prompt.

Files of the bundle's part ``ulmrec/``:

```
checkpoint/               words and index tokens, layers, final norm: an ordinary causal language model
adapters/ulmrec/          the adapter
prompts.safetensors       how prompts are put together, and the known users' indices
indexer.safetensors       what gives a user an index who was not there at training, see models.contract.user_index
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
from models.contract.user_index import numbered

PART: Literal["ulmrec"] = "ulmrec"
PROMPTS = "prompts.safetensors"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# The template (figure 2). Each piece is tokenized by itself, so that a prompt is the same however it is put together.
TEXTS: Mapping[str, str] = {
    "opening": (
        "### Instruction:\nGiven user's history in chronological order, recommend an item from the candidate pool with"
        " its index letter.\n\n### Input:\n"
    ),
    "user": "User index: ",
    "history": "User history:",
    "nothing": " none",  # in the place of the titles of an empty history
    "candidates": "\nCandidate pool:",
    "closing": "\n\n### Response:\n",
}
AFTER_INDEX = ";\n"
NUMBER, LETTER = " ({})", " ({})"  # before a title of the history, and before one of a candidate
TITLE = " {}"


@dataclass(frozen=True)
class ULMRecPrompts:
    """All prompts of one model.

    Args:
        pieces: token ids of each of ``TEXTS`` and, as ``after_index``, of ``AFTER_INDEX``.
        numbers: token ids before the first, second … title of a history; as many as a history has at most.
        letters: token ids before the first, second … candidate; as many as a prompt has at most.
        answers: (n_letters,) int32, the token that stands for each letter as an answer.
        offsets: (n_items + 1,) int64: item i's title is ``ids[offsets[i]:offsets[i + 1]]``.
        ids: the titles' token ids, as ``TITLE`` says.
        n_words: size of the backbone's vocabulary; the index tokens begin there.
        codes: of a level.
        users: (n_users,) uint64 hashes of the known users' ids, by row.
        indices: (n_users, levels) int32 codes; all rows are different.
    """

    pieces: Mapping[str, Ints]
    numbers: tuple[Ints, ...]
    letters: tuple[Ints, ...]
    answers: Ints
    offsets: NDArray[np.int64]
    ids: Ints
    n_words: int
    codes: int
    users: NDArray[np.uint64]
    indices: Ints

    @property
    def n_items(self) -> int:
        return len(self.offsets) - 1

    @property
    def levels(self) -> int:
        return int(self.indices.shape[1])

    @property
    def vocabulary_size(self) -> int:
        return self.n_words + self.levels * self.codes

    @property
    def history_length(self) -> int:
        """Titles of a history at most, the newest."""
        return len(self.numbers)

    @property
    def candidates(self) -> int:
        """Candidates of a prompt at most."""
        return len(self.letters)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt that there can be."""
        title = int(np.diff(self.offsets).max(initial=0))
        marks = sum(map(len, (*self.numbers, *self.letters)))
        titles = title * (self.history_length + self.candidates)
        return sum(map(len, self.pieces.values())) + self.levels + marks + titles

    def user_index(self, user_id: str) -> Ints | None:
        """(levels,) codes of a user, None for one that was not there at training."""
        hashes, order = self._sorted_users
        wanted = np.uint64(item_hash(user_id))
        at = int(np.searchsorted(hashes, wanted))
        return self.indices[order[at]] if at < len(hashes) and hashes[at] == wanted else None

    def index_tokens(self, index: Ints) -> Ints:
        """(levels,) token ids (int32) of an index."""
        return np.asarray(self.n_words + np.arange(self.levels) * self.codes + index, np.int32)

    def prompt(self, history: Sequence[int] | Ints, candidates: Sequence[int] | Ints, index: Ints | None) -> Ints:
        """Token ids (int32) of a prompt.

        Args:
            history: item numbers, oldest first, of which the newest are read.
            candidates: item numbers, at least one, at most as many as there are letters, the retriever's best first.
            index: (levels,) codes; None: the prompt has no index.

        Raises:
            ValueError: there are more candidates than letters, or none.
        """
        return self.prompt_of(history, candidates, None if index is None else self.index_tokens(index))

    def prompt_of(self, history: Sequence[int] | Ints, candidates: Sequence[int] | Ints, user: Ints | None) -> Ints:
        """The same where ``user`` is the token ids that stand in the place of the index."""
        parts = [self.pieces["opening"]]
        if user is not None:
            parts += [self.pieces["user"], user, self.pieces["after_index"]]
        parts += [*self.history(history), *self.candidate_pool(candidates), self.pieces["closing"]]
        return np.concatenate(parts).astype(np.int32)

    def history(self, history: Sequence[int] | Ints) -> list[Ints]:
        """The prompt's piece that shows a history, in parts."""
        shown = newest(history, self.history_length)
        nothing = [] if len(shown) else [self.pieces["nothing"]]
        return [self.pieces["history"], *self._titles(self.numbers, shown), *nothing]

    def candidate_pool(self, candidates: Sequence[int] | Ints) -> list[Ints]:
        """The prompt's piece that shows candidates, in parts. Raises ValueError, see :meth:`prompt`."""
        if not 0 < len(candidates) <= self.candidates:
            raise ValueError(f"{len(candidates)} candidates; expected 1 to {self.candidates}")
        return [self.pieces["candidates"], *self._titles(self.letters, candidates)]

    def title(self, item: int) -> Ints:
        """Token ids of an item's title."""
        return self.ids[self.offsets[item] : self.offsets[item + 1]]

    def _titles(self, marks: tuple[Ints, ...], items: Sequence[int] | Ints) -> list[Ints]:
        return [part for mark, item in zip(marks, items, strict=False) for part in (mark, self.title(int(item)))]

    @cached_property
    def _sorted_users(self) -> tuple[Array, Array]:
        order = np.argsort(self.users, kind="stable")
        return self.users[order], order

    def save(self, directory: Path) -> None:
        """Write ``prompts.safetensors``."""
        tensors: dict[str, Array] = {f"piece/{name}": ids for name, ids in self.pieces.items()}
        tensors |= {f"number/{place:03d}": ids for place, ids in enumerate(self.numbers)}
        tensors |= {f"letter/{place:03d}": ids for place, ids in enumerate(self.letters)}
        tensors |= {"answers": self.answers, "offsets": self.offsets, "ids": self.ids}
        tensors |= {"users": self.users, "indices": self.indices, "sizes": np.asarray([self.n_words, self.codes])}
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, directory / PROMPTS)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read ``prompts.safetensors``. Raises BundleError where it is missing or malformed."""
        path = directory / PROMPTS
        try:
            tensors = load_file(path)
            pieces = {name: tensors[f"piece/{name}"] for name in (*TEXTS, "after_index")}
            numbers, letters = (numbered(tensors, name) for name in ("number/", "letter/"))
            n_words, codes = tensors["sizes"].tolist()
            answers, offsets, ids = (tensors[name] for name in ("answers", "offsets", "ids"))
            users, indices = tensors["users"], tensors["indices"]
        except (OSError, KeyError, ValueError, SafetensorError) as exc:
            raise BundleError(f"{path}: {exc}") from exc
        prompts = cls(pieces, numbers, letters, answers, offsets, ids, n_words, codes, users, indices)
        if not prompts._fits_together():
            raise BundleError(f"{path}: offsets, token ids, letters, answers and indices do not fit together")
        return prompts

    def _fits_together(self) -> bool:
        spans = len(self.offsets) > 0 and self.offsets[0] == 0 and self.offsets[-1] == len(self.ids)
        rising = bool((np.diff(self.offsets) >= 0).all())
        words = np.concatenate([self.ids, self.answers, *self.pieces.values(), *self.numbers, *self.letters])
        within = bool((words >= 0).all() and (words < self.n_words).all())
        indexed = self.indices.ndim == 2 and len(self.indices) == len(self.users)
        known = indexed and bool((self.indices >= 0).all() and (self.indices < self.codes).all())
        different = known and len(np.unique(self.indices, axis=0)) == len(self.indices)
        own = len(np.unique(self.answers)) == len(self.answers) == len(self.letters) > 0
        return bool(spans and rising and within and different and own)
