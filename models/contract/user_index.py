"""The user index of ULMRec (section 4.1), and what gives one to users who were not there at training, without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from models.contract.errors import BundleError
from models.contract.redis_schema import item_hash
from models.contract.types import Array, Floats, Ints

INDEXER = "indexer.safetensors"
LEVELS, CODES = 4, 256  # of the user index, in the paper


@dataclass(frozen=True)
class UserIndexer:
    """Gives users an index by what they are like: RQ-VAE's encoder and codebooks.

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
            weights, biases = (numbered(tensors, name) for name in ("weight/", "bias/"))
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


def numbered(tensors: Mapping[str, Array], prefix: str) -> tuple[Array, ...]:
    """A file's tensors whose names begin alike, in the order of their names."""
    return tuple(tensors[name] for name in sorted(tensors) if name.startswith(prefix))
