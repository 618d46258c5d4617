"""Top-N by inner product over item vectors, exact or by faiss."""

from typing import Protocol

import faiss
import numpy as np

from models.contract.types import Array, Floats, Ints, RankedList

EXACT_BELOW_ITEMS = 20_000  # one numpy product is faster than a faiss call for small catalogues
GROUPS_PER_ITEM = 4  # of the search for a threshold, for each item that is wanted


class ItemIndex(Protocol):
    """Finds the items with the largest inner product."""

    def search(self, query: Floats, n: int, excluded: Ints, allowed: Array | None = None) -> RankedList:
        """The best ``n`` items for ``query`` (d,), none of ``excluded``; fewer where the catalogue ends.

        ``allowed`` is (n_items,) bool, the items that may be found; None: all.
        """
        ...


class ExactIndex:
    """One matrix product, then a partial sort. ``vectors`` is (n_items, d)."""

    def __init__(self, vectors: Floats) -> None:
        self._columns = np.ascontiguousarray(vectors.T, dtype=np.float32)  # (d, n_items): a product of half the time

    def search(self, query: Floats, n: int, excluded: Ints, allowed: Array | None = None) -> RankedList:
        """See :class:`ItemIndex`."""
        return _top_n(query @ self._columns, n, excluded, allowed)


class FaissIndex:
    """faiss flat inner-product index. Asks for as many more items as are excluded, so that ``n`` remain.

    Where some items alone are allowed, faiss passes over all others. Items of exactly equal score come in faiss's
    order, which is always the same.
    """

    def __init__(self, vectors: Floats) -> None:
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def search(self, query: Floats, n: int, excluded: Ints, allowed: Array | None = None) -> RankedList:
        """See :class:`ItemIndex`."""
        wanted = min(n + len(excluded), self._index.ntotal)
        parameters = None if allowed is None else _passing(allowed)
        scores, items = self._index.search(query[None, :].astype(np.float32), wanted, params=parameters)
        keep = ~np.isin(items[0], excluded) & (items[0] >= 0)  # -1: a score that is no number
        return RankedList(items[0][keep][:n].astype(np.int32), scores[0][keep][:n])


def _passing(allowed: Array) -> faiss.SearchParameters:
    # The stubs know neither that faiss wraps these constructors for numpy nor that it takes keywords.
    bits = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))  # type: ignore[arg-type, call-arg]
    return faiss.SearchParameters(sel=bits)  # type: ignore[call-arg]


def build_index(vectors: Floats) -> ItemIndex:
    """The faster index for this many items."""
    return ExactIndex(vectors) if len(vectors) < EXACT_BELOW_ITEMS else FaissIndex(vectors)


def top_n(scores: Floats, n: int, excluded: Ints, allowed: Array | None = None) -> RankedList:
    """The ``n`` best of ``scores`` (n_items,), none of ``excluded``; equal scores by item number.

    ``allowed`` is (n_items,) bool, the items that may be listed; None: all.
    """
    return _top_n(scores.astype(np.float32, copy=True), n, excluded, allowed)


def _top_n(masked: Floats, n: int, excluded: Ints, allowed: Array | None) -> RankedList:
    """The same, of scores that nobody else needs: those of excluded items are overwritten."""
    masked[excluded] = -np.inf
    if allowed is not None:  # picked out, not masked: among many equal scores a partial sort takes ten times as long
        items = np.flatnonzero(allowed)
        best = _top_n(masked[items], n, np.empty(0, np.int32), None)
        return RankedList(items[best.items].astype(np.int32), best.scores)
    n = min(n, len(masked))
    if n == 0:
        return RankedList(np.empty(0, np.int32), np.empty(0, np.float32))
    threshold = _low_threshold(masked, n)
    candidates = np.flatnonzero(masked >= threshold)
    order = candidates[np.argsort(-masked[candidates], kind="stable")][:n]
    if threshold == -np.inf:  # fewer than n are left
        order = order[masked[order] > -np.inf]
    return RankedList(order.astype(np.int32), masked[order])


def _low_threshold(scores: Floats, n: int) -> np.float32:
    """At most the ``n``-th best score, and hardly less: the ``n``-th best of the maxima of many small groups.

    Maxima cost a tenth of a partial sort, and at least ``n`` scores reach the one that is found.
    """
    groups = GROUPS_PER_ITEM * n
    size = len(scores) // groups
    if size > 1:
        scores = scores[: size * groups].reshape(size, groups).max(axis=0)
    at = len(scores) - n
    threshold: np.float32 = np.partition(scores, at)[at]
    return threshold
