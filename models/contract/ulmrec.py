"""ULMRec's prompts and user index (Shao et al., "ULMRec: User-centric Large Language Model …", 2025).

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
indexer.safetensors       what gives a user an index who was not there at training
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
from models.contract.types import Array, Floats, Ints

PART: Literal["ulmrec"] = "ulmrec"
PROMPTS, INDEXER = "prompts.safetensors", "indexer.safetensors"
LEVELS, CODES = 4, 256  # of the user index, in the paper
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
            numbers, letters = (_numbered(tensors, name) for name in ("number/", "letter/"))
            n_words, codes = tensors["sizes"].tolist()
            answers, offsets, ids = (tensors[name] for name in ("answers", "offsets", "ids"))
            users, indices = tensors["users"], tensors["indices"]
        except (OSError, KeyError, ValueError, SafetensorError) as exc:
            raise BundleError(f"{path}: {exc}") from exc
        prompts = cls(pieces, numbers, letters, answers, offsets, ids, n_words, codes, users, indices)
        if not prompts._fits_together():
            raise BundleError(f"{path}: offsets, token ids, letters and indices do not fit together")
        return prompts

    def _fits_together(self) -> bool:
        spans = len(self.offsets) > 0 and self.offsets[0] == 0 and self.offsets[-1] == len(self.ids)
        rising = bool((np.diff(self.offsets) >= 0).all())
        words = np.concatenate([self.ids, self.answers, *self.pieces.values(), *self.numbers, *self.letters])
        within = bool((words >= 0).all() and (words < self.n_words).all())
        indexed = self.indices.ndim == 2 and len(self.indices) == len(self.users)
        known = indexed and bool((self.indices >= 0).all() and (self.indices < self.codes).all())
        different = known and len(np.unique(self.indices, axis=0)) == len(self.indices)
        return bool(spans and rising and within and different and len(self.answers) == len(self.letters) > 0)


def _numbered(tensors: Mapping[str, Array], prefix: str) -> tuple[Array, ...]:
    return tuple(tensors[name] for name in sorted(tensors) if name.startswith(prefix))


@dataclass(frozen=True)
class UserIndexer:
    """Gives users an index by what they are like (section 4.1), without torch: RQ-VAE's encoder and codebooks.

    A known user's index is another's never: a code of the last level that is taken is passed over for the next nearest.
    Two users whom training did not know may get the same one: nobody remembers them between requests.

    Args:
        item_vectors: (n_items, d) float16 or float32, the text encoder's vectors of the items' texts.
        attention: (d, d) float32, A of equation 1.
        weights, biases: of the encoder's linear layers, (out, in) and (out,), with ReLU between them.
        codebooks: (levels, codes, latent) float32.
        taken: (n_users, levels) int32, the known users' indices.
    """

    item_vectors: Array
    attention: Floats
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    codebooks: Floats
    taken: Ints

    def index(self, user_id: str | None, history: Sequence[int] | Ints) -> Ints:
        """(levels,) codes of a user who was not there at training, by the texts of a history's items.

        Args:
            user_id: gives the vector that asks in equation 1; None: all items count the same.
            history: item numbers, at least one.
        """
        texts = np.asarray(self.item_vectors[np.asarray(history, np.int64)], np.float32)
        return self.nearest_free(self.encode(self.pooled(user_id, texts)))

    def pooled(self, user_id: str | None, texts: Floats) -> Floats:
        """x_u (d,) of equation 1, for a user's texts (n, d), n at least 1."""
        if user_id is None:
            return np.asarray(texts.mean(axis=0), np.float32)
        asked = texts @ (self.attention @ id_vector(user_id, texts.shape[1]))
        weights = np.exp(asked - asked.max())
        return np.asarray(weights / weights.sum() @ texts, np.float32)

    def encode(self, pooled: Floats) -> Floats:
        """z (latent,), RQ-VAE's latent representation of x_u (d,)."""
        *inner, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in inner:
            pooled = np.maximum(weight @ pooled + bias, 0)
        return np.asarray(last[0] @ pooled + last[1], np.float32)

    def nearest_free(self, latent: Floats) -> Ints:
        """(levels,) the codes of equations 2 and 3, the nearest ones that are no known user's.

        Raises:
            ValueError: all are taken.
        """
        codes = free_codes(self.codebooks, latent, self._taken)
        if codes is None:
            raise ValueError("all indices are taken")
        return np.asarray(codes, np.int32)

    @cached_property
    def _taken(self) -> set[tuple[int, ...]]:
        return set(map(tuple, self.taken.tolist()))

    def save(self, directory: Path) -> None:
        """Write ``indexer.safetensors``."""
        tensors: dict[str, Array] = {f"weight/{n:02d}": weight for n, weight in enumerate(self.weights)}
        tensors |= {f"bias/{n:02d}": bias for n, bias in enumerate(self.biases)}
        tensors |= {"item_vectors": self.item_vectors, "attention": self.attention}
        tensors |= {"codebooks": self.codebooks, "taken": self.taken}
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, directory / INDEXER)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read ``indexer.safetensors``. Raises BundleError where it is missing or malformed."""
        path = directory / INDEXER
        try:
            tensors = load_file(path)
            weights, biases = (_numbered(tensors, name) for name in ("weight/", "bias/"))
            vectors, attention = tensors["item_vectors"], tensors["attention"]
            indexer = cls(vectors, attention, weights, biases, tensors["codebooks"], tensors["taken"])
        except (OSError, KeyError, ValueError, SafetensorError) as exc:
            raise BundleError(f"{path}: {exc}") from exc
        if not indexer._fits_together():
            raise BundleError(f"{path}: vectors, layers and codebooks do not fit together")
        return indexer

    def _fits_together(self) -> bool:
        if self.item_vectors.ndim != 2 or self.codebooks.ndim != 3 or not self.weights:
            return False
        size = self.item_vectors.shape[1]
        if self.attention.shape != (size, size) or len(self.weights) != len(self.biases):
            return False
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if weight.ndim != 2 or weight.shape != (len(bias), size):
                return False
            size = len(bias)
        levels, codes, latent = self.codebooks.shape
        within = bool((self.taken >= 0).all() and (self.taken < codes).all())
        if latent != size or self.taken.shape[1:] != (levels,) or not within:
            return False
        return len(self._taken) == len(self.taken)  # which is made here, not in a request


def free_codes(codebooks: Floats, latent: Floats, taken: set[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The codes of equations 2 and 3; at the last level the nearest one that makes an index which is not taken.

    Where all are taken there, the last level but one has its next nearest code, and so on.

    Args:
        codebooks: (levels, codes, latent).
        latent: z (latent,).
        taken: indices; what begins only such ones is added, so that it need not be searched again.

    Returns:
        None where all indices are taken.
    """

    def search(before: tuple[int, ...], residual: Floats) -> tuple[int, ...] | None:
        if before in taken or len(before) == len(codebooks):
            return None if before in taken else before
        codebook = codebooks[len(before)]
        distances = ((codebook - residual) ** 2).sum(axis=1)
        for code in np.argsort(distances, kind="stable").tolist():
            found = search((*before, code), residual - codebook[code])
            if found is not None:
                return found
        taken.add(before)
        return None

    return search((), latent)


def id_vector(user_id: str, size: int) -> Floats:
    """(size,) float32 of length 1 that stands for a user's id (e_o in equation 1).

    The paper encodes the id with the text encoder. Of meaningless strings that makes fingerprints which have much in
    common: MiniLM's of two of Amazon's ids have a cosine of 0.5 on average. So have these: half of each is the same for
    everyone, so that A can learn which texts matter, and half its own, so that users with the same texts differ. They
    need no encoder: the gateway has them of users whom nobody has seen before.
    """
    drawn = np.random.default_rng(item_hash(user_id)).standard_normal(size)
    vector = drawn / np.linalg.norm(drawn) + np.ones(size) / np.sqrt(size)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
