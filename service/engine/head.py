"""The output head: states to ranked tokens, in float32 whatever the layers compute in.

Two thoughts make it cheap. Where the checkpoint's rows are products of a narrow table and a projection, as compiled
item tables are, states are multiplied with the two parts one after the other. And the best tokens are looked for among
the blocks of tokens with the best maxima, which cannot miss one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.contract.types import Floats, Ints, RankedList
from service.engine.product import Product, product

LOGITS_AT_ONCE = 1 << 21  # logits ranked together: as many as stay in the processor's cache
WORTH_IT = 0.75  # of the full product's multiplications: two narrow ones must be cheaper than that
ROUNDING = 2e-6  # of float32 products, relative to the largest


class Wanted(Protocol):
    """What of a query the head reads: see ``service.engine.model.Query``."""

    @property
    def n_best(self) -> int: ...

    @property
    def biased_tokens(self) -> Ints: ...

    @property
    def biases(self) -> Floats: ...

    @property
    def allowed(self) -> Ints | None: ...


@dataclass(frozen=True)
class HeadParts:
    """A head as a product.

    Args:
        rows: (vocabulary, width) float32; None where all are zero.
        projection: (width, hidden) float32; None where the width is the states' own.
    """

    rows: Tensor | None
    projection: Tensor | None


@dataclass(frozen=True)
class Head:
    """The base model's head.

    Args:
        narrow: states (n, hidden) as the rows want them, (n, width).
        wide: (n, width) to logits (n, vocabulary); None where all are zero.
        vocabulary_size: number of tokens.
    """

    narrow: Product
    wide: Product | None
    vocabulary_size: int

    @classmethod
    def of(cls, parts: HeadParts, vocabulary_size: int) -> Self:
        """The head of these parts, which are copied."""
        narrow = _same if parts.projection is None else product(parts.projection)
        return cls(narrow, None if parts.rows is None else product(parts.rows), vocabulary_size)

    def logits(self, narrow: Tensor) -> Tensor:
        """(n, vocabulary) from (n, width)."""
        return narrow.new_zeros(len(narrow), self.vocabulary_size) if self.wide is None else self.wide(narrow)


def head_parts(weight: Tensor) -> HeadParts:
    """The parts of a weight (vocabulary, hidden): narrow ones where their product is exact and cheaper."""
    full = weight.detach().float()
    if not full.any():
        return HeadParts(None, None)
    directions = _directions(full)
    n_rows, hidden = full.shape
    width = directions.shape[1]
    if width * (n_rows + hidden) < WORTH_IT * n_rows * hidden:
        rows, projection = (full.double() @ directions).float(), directions.T.float().contiguous()
        if float((rows @ projection - full).abs().max()) <= ROUNDING * float(full.abs().max()):
            return HeadParts(rows, projection)
    return HeadParts(full, None)


def _same(states: Tensor) -> Tensor:
    return states


def _directions(full: Tensor) -> Tensor:
    """(hidden, width) float64 orthonormal directions in which the rows differ from zero by more than rounding."""
    exact = full.double()
    values, vectors = torch.linalg.eigh(exact.T @ exact)  # ascending squares of the singular values
    kept: Tensor = vectors[:, values > values[-1] * ROUNDING**2]
    return kept


def rank(logits: Tensor, queries: Sequence[Wanted]) -> list[RankedList]:
    """The best tokens of each row of logits (n, vocabulary), with log-probabilities. The logits are changed.

    Tokens whose bias is minus infinity or that are not allowed are not ranked, so that a list can be shorter than was
    asked for.
    """
    _add_biases(logits, queries)
    _keep_allowed(logits, queries)
    values, tokens = top_k(logits, min(max(query.n_best for query in queries), logits.shape[1]))
    # One token's log-probability gives the normaliser: log_softmax takes one pass, logsumexp several. The others' are
    # not read from it, as equal after rounding they would lose their order.
    normaliser = values[:, :1] - F.log_softmax(logits, dim=1).gather(1, tokens[:, :1])
    return ranked_lists(tokens, values - normaliser, queries)


def ranked_lists(tokens: Tensor, scores: Tensor, queries: Sequence[Wanted]) -> list[RankedList]:
    """Rows of tokens and scores (n, k), best first, as lists of what each query asked for."""
    all_tokens, all_scores = tokens.to(torch.int32).cpu().numpy(), scores.cpu().numpy()
    ends = np.minimum((all_scores > -np.inf).sum(axis=1), [query.n_best for query in queries])
    return [RankedList(all_tokens[row, :end], all_scores[row, :end]) for row, end in enumerate(ends)]


def top_k(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and columns (n, k) of the largest entries of each row (n, width), largest first.

    Columns are dealt to blocks, one after the other. The k largest entries lie in the k blocks with the largest maxima:
    an entry of any other block is not above k entries, those maxima.
    """
    n, width = logits.shape
    size = 1 << max((width // max(k, 1)).bit_length() // 2, 0)  # near the square root of width / k
    blocks = width // size
    if blocks <= k or size < 4:
        best = torch.topk(logits, k, dim=1)
        return best.values, best.indices
    maxima = logits[:, : blocks * size].view(n, size, blocks).amax(dim=1)
    chosen = maxima.topk(k, dim=1, sorted=False).indices  # (n, k)
    inside = torch.arange(size, device=logits.device)[:, None] * blocks
    columns = (chosen[:, None] + inside).flatten(1)  # (n, size · k)
    rest = torch.arange(blocks * size, width, device=logits.device).expand(n, -1)
    columns = torch.cat([columns, rest], dim=1)
    best = logits.gather(1, columns).topk(k, dim=1)
    return best.values, columns.gather(1, best.indices)


def _add_biases(logits: Tensor, queries: Sequence[Wanted]) -> None:
    if not any(len(query.biased_tokens) for query in queries):
        return
    where = _cells(range(len(queries)), [query.biased_tokens for query in queries], logits.device)
    biases = np.concatenate([query.biases for query in queries])
    logits.index_put_(where, torch.from_numpy(biases).to(logits.device), accumulate=True)


def _keep_allowed(logits: Tensor, queries: Sequence[Wanted]) -> None:
    """Of rows whose query allows some tokens alone, all other logits become minus infinity."""
    narrowed = {row: query.allowed for row, query in enumerate(queries) if query.allowed is not None}
    if not narrowed:
        return
    where = _cells(list(narrowed), list(narrowed.values()), logits.device)
    kept = logits[where]
    logits[list(narrowed)] = -torch.inf
    logits[where] = kept


def _cells(rows: Sequence[int], columns: Sequence[Ints], device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column of every cell, ``columns[i]`` (m_i,) being those in ``rows[i]``."""
    row_numbers = np.repeat(np.asarray(rows, np.int64), [len(some) for some in columns])
    column_numbers = np.concatenate(columns).astype(np.int64)
    return torch.from_numpy(row_numbers).to(device), torch.from_numpy(column_numbers).to(device)
