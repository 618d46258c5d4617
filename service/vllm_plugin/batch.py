"""A batch of prompts as vLLM packs it, one after the other in one row of tokens, cut up for masked attention."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.contract.hatllm import HatLayout, Mask, segments, visible


@dataclass(frozen=True)
class Group:
    """Prompts of about the same length, padded on the right, where no token sees what pads.

    Args:
        rows: (prompts, n) int64, places of the tokens in the packed batch; what pads is each prompt's last token.
        real: (prompts, n) bool, False where it pads.
        tokens: (prompts, n) token ids.
        layout: of the prompts.
    """

    rows: Tensor
    real: Tensor
    tokens: Tensor
    layout: HatLayout
    _masks: dict[Mask, Tensor] = field(default_factory=dict)

    def mask(self, kind: Mask) -> Tensor:
        """What each token sees, (prompts, 1, n, n) bool; the same for all layers of a kind, so made once."""
        if kind not in self._masks:
            places = torch.arange(self.rows.shape[1], device=self.rows.device)
            self._masks[kind] = visible(kind, segments(self.tokens, places, self.layout)).unsqueeze(1)
        return self._masks[kind]


def groups(tokens: Tensor, positions: Tensor, layout: HatLayout) -> Iterator[Group]:
    """Cut a packed batch up.

    Args:
        tokens: (n,) token ids.
        positions: (n,) 0, 1, … in each prompt: whole prompts, one after the other.
        layout: of the prompts.

    Yields:
        Groups that together hold every token once. In a group lengths differ by less than a factor of two, so less
        than half of what is computed is for padding, however different prompts are.
    """
    starts = torch.nonzero(positions == 0).flatten().tolist()
    if not starts or starts[0] != 0:
        raise ValueError("a prompt does not begin at its first token; HatLLM reads whole prompts")
    by_size: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        by_size[(end - start - 1).bit_length()].append((start, end - start))
    for prompts in by_size.values():
        yield _group(tokens, prompts, layout)


def _group(tokens: Tensor, prompts: list[tuple[int, int]], layout: HatLayout) -> Group:
    starts, lengths = torch.tensor(prompts, device=tokens.device).T.unsqueeze(-1)
    places = torch.arange(int(max(length for _, length in prompts)), device=tokens.device)
    rows = starts + torch.minimum(places, lengths - 1)
    return Group(rows, places < lengths, tokens[rows], layout)
