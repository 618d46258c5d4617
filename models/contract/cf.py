"""The global collaborative-filtering model as the service needs it: numpy only.

MultVAE (Liang et al., WWW 2018) with one linear layer on either side: the encoder mean is the user embedding, the rows
of the decoder are the item embeddings, and a score is their inner product plus the item's bias (L3Rec, equation 7). So
a history that was never trained on is folded in by averaging a few rows.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file, save_file

from models.contract.errors import BundleError
from models.contract.index import ItemIndex, build_index
from models.contract.types import Array, Floats, Ints, RankedList


@dataclass(frozen=True)
class CFModel:
    """Parameters of the global model.

    Args:
        encoder_weight: (n_items, d), one row per item of the history.
        encoder_bias: (d,).
        item_factors: (n_items, d), the decoder's rows.
        item_bias: (n_items,).
    """

    encoder_weight: Floats
    encoder_bias: Floats
    item_factors: Floats
    item_bias: Floats

    @property
    def embedding_size(self) -> int:
        return int(self.item_factors.shape[1])

    @property
    def n_items(self) -> int:
        return int(self.item_factors.shape[0])

    def fold_in(self, history: Ints) -> Floats:
        """User embedding (d,) of any history of item numbers: the encoder mean on the L2-normalised bag of items."""
        items = np.unique(history)
        scale = 1.0 / np.sqrt(max(len(items), 1))
        return np.asarray(self.encoder_weight[items].sum(axis=0) * scale + self.encoder_bias, dtype=np.float32)

    def scores(self, embedding: Floats) -> Floats:
        """Scores of all items (n_items,) for a user embedding (d,), or (n, n_items) for (n, d). Equation 7."""
        return np.asarray(embedding @ self.item_factors.T + self.item_bias, dtype=np.float32)

    def recommend(self, embedding: Floats, n: int, excluded: Ints, allowed: Array | None = None) -> RankedList:
        """The ``n`` best items for a user embedding (d,), none of ``excluded``.

        ``allowed`` is (n_items,) bool, the items that may be recommended; None: all.
        """
        query = np.ones(self.embedding_size + 1, np.float32)  # its last entry is for the bias
        query[:-1] = embedding
        return self._index.search(query, n, excluded, allowed)

    def similar(self, item: int, n: int, excluded: Ints, allowed: Array | None = None) -> RankedList:
        """The ``n`` items that are nearest to an item, by the cosine of their embeddings, the item itself left out."""
        query = self.item_factors[item] / _length(self.item_factors[item])
        return self._directions.search(query, n, np.append(excluded, np.int32(item)), allowed)

    def build_indexes(self) -> None:
        """Build now what is otherwise built at its first use."""
        _ = self._index, self._directions

    @cached_property
    def _index(self) -> ItemIndex:
        return build_index(np.concatenate([self.item_factors, self.item_bias[:, None]], axis=1))

    @cached_property
    def _directions(self) -> ItemIndex:
        return build_index(self.item_factors / _length(self.item_factors))

    def save(self, path: Path) -> None:
        """Write the parameters as safetensors."""
        save_file({name: np.ascontiguousarray(getattr(self, name), np.float32) for name in _TENSORS}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the parameters. Raises BundleError where tensors are missing or their shapes disagree."""
        tensors = load_file(path)
        missing = [name for name in _TENSORS if name not in tensors]
        if missing:
            raise BundleError(f"{path}: tensors missing: {', '.join(missing)}")
        model = cls(**{name: tensors[name] for name in _TENSORS})
        n_items, d = model.item_factors.shape
        expected = {"encoder_weight": (n_items, d), "encoder_bias": (d,), "item_bias": (n_items,)}
        for name, shape in expected.items():
            if tensors[name].shape != shape:
                raise BundleError(f"{path}: {name} has shape {tensors[name].shape}, expected {shape}")
        return model


def _length(vectors: Floats) -> Floats:
    """Euclidean lengths of rows, kept as the last axis; of a row of zeros a number that can divide it."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)


_TENSORS = ("encoder_weight", "encoder_bias", "item_factors", "item_bias")
