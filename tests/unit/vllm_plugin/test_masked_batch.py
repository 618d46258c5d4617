"""Masked attention over a packed batch, against each prompt by itself and each token by itself."""

import numpy as np
import pytest
import torch
from support.small_parts import LAYOUT, random_prompts
from torch import Tensor

from models.contract.hatllm import Mask, segments, visible
from service.vllm_plugin.attention import Batch, MaskedAttention
from service.vllm_plugin.batch import groups

HEADS, KV_HEADS, HEAD_SIZE, SCALE = 4, 2, 8, 0.3


def packed(prompts: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Tokens and positions (n,) of prompts one after the other."""
    tokens = torch.from_numpy(np.concatenate(prompts)).long()
    return tokens, torch.cat([torch.arange(len(prompt)) for prompt in prompts])


def by_itself(prompt: np.ndarray, queries: Tensor, keys: Tensor, values: Tensor, mask: Mask) -> Tensor:
    """Attention of one prompt, token by token and head by head."""
    seen = visible(mask, segments(prompt, np.arange(len(prompt)), LAYOUT))
    states = torch.zeros(len(prompt), HEADS, HEAD_SIZE)
    for token in range(len(prompt)):
        rows = np.flatnonzero(seen[token])
        for head in range(HEADS):
            shared = head // (HEADS // KV_HEADS)
            weights = torch.softmax(keys[rows, shared] @ queries[token, head] * SCALE, dim=0)
            states[token, head] = weights @ values[rows, shared]
    return states.flatten(1)


@pytest.mark.parametrize("mask", ["intra", "causal", "cross", "cross-pre"])
def test_a_packed_batch_is_its_prompts_one_by_one(mask: Mask) -> None:
    prompts = random_prompts(9, 15)
    tokens, positions = packed(prompts)
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(tokens), heads, HEAD_SIZE) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    queries, keys, values = (torch.randn(shape, generator=generator) for shape in shapes)
    batch = Batch()
    batch.groups = tuple(groups(tokens, positions, LAYOUT))
    attention = MaskedAttention(HEADS, KV_HEADS, HEAD_SIZE, SCALE, mask, batch)
    served = attention(*(each.flatten(1) for each in (queries, keys, values)))
    start = 0
    for prompt in prompts:
        own = slice(start, start + len(prompt))
        expected = by_itself(prompt, queries[own], keys[own], values[own], mask)
        torch.testing.assert_close(served[own], expected)
        start += len(prompt)


@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (5, 1, 300, 4, 8, 9)])
def test_every_token_is_in_one_group_and_less_than_half_is_padding(lengths: tuple[int, ...]) -> None:
    tokens, positions = packed([np.full(length, 3, np.int32) for length in lengths])
    found = list(groups(tokens, positions, LAYOUT))
    rows = torch.cat([group.rows[group.real] for group in found])
    assert sorted(rows.tolist()) == list(range(sum(lengths)))
    assert sum(group.rows.numel() for group in found) < 2 * sum(lengths)


@pytest.mark.parametrize("positions", [[], [1, 2, 0, 1], [3, 4, 5, 6]])
def test_a_prompt_that_was_cut_up_is_refused(positions: list[int]) -> None:
    with pytest.raises(ValueError, match="HatLLM reads whole prompts"):
        list(groups(torch.zeros(len(positions), dtype=torch.long), torch.tensor(positions), LAYOUT))
