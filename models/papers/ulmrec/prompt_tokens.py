"""How many tokens prompts have, and how many of them a server with a prefix cache reads once for everybody."""

from collections.abc import Sequence

import msgspec
import numpy as np

from models.contract.types import Ints
from models.evaluation.metrics import NO_ITEM
from models.papers.ulmrec.model import ULMRec
from models.papers.ulmrec.reranking import Asked

BLOCK_TOKENS = 16  # of vLLM's prefix cache, which shares whole blocks


class PromptTokens(msgspec.Struct, frozen=True):
    """Tokens of n prompts.

    Args:
        n_prompts: that were counted.
        mean: tokens of a prompt.
        longest: tokens of the longest one.
        common: first tokens that all prompts have in common: the constant instruction, and what follows in all.
        cached: of these, those in whole blocks.
    """

    n_prompts: int
    mean: float
    longest: int
    common: int
    cached: int

    @property
    def cached_share(self) -> float:
        """Of all tokens, those that are read once."""
        return self.cached / self.mean


def prompts_of(model: ULMRec, asked: Asked) -> list[Ints]:
    """The prompts that a model reads for what it is asked."""
    examples = asked.examples
    indices = [None if model.users is None else model.users[user] for user in examples.users.tolist()]
    return [
        model.prompts.prompt_of(examples.histories[row], items[items != NO_ITEM], index)
        for row, (items, index) in enumerate(zip(asked.items, indices, strict=True))
    ]


def prompt_tokens(prompts: Sequence[Ints]) -> PromptTokens:
    """Count the tokens of prompts, at least one."""
    lengths = [len(prompt) for prompt in prompts]
    common = common_prefix(prompts)
    cached = common // BLOCK_TOKENS * BLOCK_TOKENS
    return PromptTokens(len(prompts), float(np.mean(lengths)), max(lengths), common, cached)


def common_prefix(prompts: Sequence[Ints]) -> int:
    """First tokens that all prompts have in common."""
    shortest = min(len(prompt) for prompt in prompts)
    table = np.stack([prompt[:shortest] for prompt in prompts])
    different = np.flatnonzero((table != table[0]).any(axis=0))
    return int(different[0]) if len(different) else shortest
