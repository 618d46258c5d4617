"""Prompts as a batch: one a row, or several packed into a row."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.contract.hatllm import HatLayout, Segments, segments


@dataclass(frozen=True)
class Rows:
    """Prompts as rows of tokens, padded on the right.

    Args:
        tokens: (b, n) int64.
        places: (b, n) int64, each token's place in its prompt.
        sequences: (b, n) int64, whose tokens they are, where a row packs several prompts; None: one prompt a row.
    """

    tokens: Tensor
    places: Tensor
    sequences: Tensor | None = None

    @classmethod
    def of(cls, tokens: Tensor) -> "Rows":
        """Rows of one prompt each."""
        return cls(tokens, torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens))

    def segments(self, layout: HatLayout) -> Segments:
        """Which token belongs to which item."""
        found = segments(self.tokens, self.places, layout)
        return Segments(found.items, found.last, found.places, self.sequences)


def pack(prompts: Sequence[Tensor], n_tokens: int) -> Rows:
    """Put prompts into rows of ``n_tokens`` tokens, in their order; a longer prompt has a row for itself."""
    rows: list[list[Tensor]] = []
    room = 0
    for prompt in prompts:
        if not rows or len(prompt) > room:
            rows.append([])
            room = n_tokens
        rows[-1].append(prompt)
        room -= len(prompt)
    tokens, places, sequences = [], [], []
    for row in rows:
        tokens.append(torch.cat(row))
        places.append(torch.cat([torch.arange(len(prompt)) for prompt in row]))
        sequences.append(torch.cat([torch.full((len(prompt),), number) for number, prompt in enumerate(row)]))
    return Rows(
        pad_sequence(tokens, batch_first=True),
        pad_sequence(places, batch_first=True),
        pad_sequence(sequences, batch_first=True, padding_value=-1),
    )
