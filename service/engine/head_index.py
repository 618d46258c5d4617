"""The best tokens of a very large vocabulary without all its logits: faiss searches the head's rows.

For catalogues beyond some hundred thousand items the product of state and head costs more than the layers. The index
looks at a part of the rows only, so a list can lack tokens that the exact one has (``LanguageModel.index_recall``
measures how many), and its log-probabilities are logits minus an *estimate* of the normaliser: what was found, and a
random sample of the rows for the rest. That is one constant a list, which fusion of ranks and of standardised scores
does not see. Where a query allows few tokens alone, their rows are read and multiplied: that list is exact.
"""

from collections.abc import Sequence

import faiss
import numpy as np
import torch

from models.contract.index import top_n
from models.contract.types import Array, Floats, Ints, RankedList, item_numbers
from service.engine.head import Wanted

SAMPLE = 4096  # rows whose logits stand for all when the normaliser is estimated
MAX_EXCLUDED = 256  # tokens of a query: all queries of a search are searched as deep as the deepest one
MAX_ALLOWED = 4096  # tokens of a query whose rows are read one by one
PROBED = 8  # one of so many lists is searched
ROWS_A_CENTROID = 64  # that the lists' centroids are learned from


class HeadIndex:
    """An inverted file over the head's ``rows`` (vocabulary, width) float32, searched by inner product."""

    def __init__(self, rows: Floats) -> None:
        _follow_torch()
        n_rows, width = rows.shape
        n_lists = max(int(2 * n_rows**0.5), 1)
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, n_lists, faiss.METRIC_INNER_PRODUCT)
        self._index.cp.max_points_per_centroid = ROWS_A_CENTROID
        self._index.train(rows)
        self._index.add(rows)
        self._index.nprobe = max(n_lists // PROBED, 1)
        self._index.make_direct_map()  # so that rows can be read by their number
        self._sampled = np.random.default_rng(0).permutation(n_rows)[:SAMPLE]
        self._sample = rows[self._sampled].T

    def covers(self, query: Wanted) -> bool:
        """Whether an answer can be given: a list is wanted, and biases exclude tokens, few enough to be passed over.

        Where some tokens alone are allowed, they must be few: the lists that are searched may hold none of them.
        """
        excluded = bool(np.isneginf(query.biases).all()) and len(query.biased_tokens) <= MAX_EXCLUDED
        few = query.allowed is None or len(query.allowed) <= MAX_ALLOWED
        return query.n_best > 0 and few and excluded

    def ranked(self, narrow: Floats, queries: Sequence[Wanted]) -> list[RankedList]:
        """The best tokens of states (n, width), with estimated log-probabilities; every bias excludes its token.

        A list can be shorter than was asked for: the lists that were searched held no more.
        """
        _follow_torch()
        searched = [number for number, query in enumerate(queries) if query.allowed is None]
        found = dict(zip(searched, self._found(narrow[searched], [queries[n] for n in searched]), strict=True))
        for number, query in enumerate(queries):
            if query.allowed is not None:
                found[number] = self._among(np.setdiff1d(query.allowed, query.biased_tokens), narrow[number], query)
        return [found[number] for number in range(len(queries))]

    def _found(self, narrow: Floats, queries: Sequence[Wanted]) -> list[RankedList]:
        if not queries:
            return []
        wanted = max(query.n_best + len(query.biased_tokens) for query in queries)
        logits, tokens = self._index.search(narrow, min(wanted, self._index.ntotal))
        return [self._best(*each) for each in zip(tokens, logits, narrow @ self._sample, queries, strict=True)]

    def _among(self, tokens: Ints, state: Floats, query: Wanted) -> RankedList:
        """The best of these tokens alone, exactly."""
        logits = self._index.reconstruct_batch(tokens.astype(np.int64)) @ state
        best = top_n(logits, query.n_best, item_numbers([]))
        return RankedList(tokens[best.items], best.scores - np.logaddexp.reduce(logits))

    def _best(self, tokens: Array, logits: Floats, sample: Floats, query: Wanted) -> RankedList:
        keep = (tokens >= 0) & ~np.isin(tokens, query.biased_tokens)  # -1: fewer were found
        best = logits[keep]
        rest = sample[~np.isin(self._sampled, np.concatenate([tokens, query.biased_tokens]))]
        n_rest = self._index.ntotal - len(tokens)
        weight = np.log(np.float32(max(n_rest, 1) / max(len(rest), 1)))  # each of them stands for so many
        normaliser = np.logaddexp.reduce(np.concatenate([best, rest + weight]))
        return RankedList(tokens[keep][: query.n_best].astype(np.int32), best[: query.n_best] - normaliser)


def _follow_torch() -> None:
    """As many threads as torch has; the setting is the calling thread's."""
    faiss.omp_set_num_threads(torch.get_num_threads())
