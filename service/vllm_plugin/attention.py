"""HatLLM's attention in place of vLLM's own: without a cache, since every prompt is read once and as a whole."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from models.contract.hatllm import Mask
from service.vllm_plugin.batch import Group


class Batch:
    """The groups of prompts that the layers are computing now: the model fills it before each pass."""

    groups: Sequence[Group] = ()


class MaskedAttention(nn.Module):
    """Masked attention of one layer within each prompt of a packed batch (equations 2 to 5 of the paper).

    Args:
        n_heads: query heads.
        n_kv_heads: key and value heads, each for as many query heads.
        head_size: of each.
        scale: of the inner products.
        mask: the layer's.
        batch: what is being computed.
    """

    def __init__(self, n_heads: int, n_kv_heads: int, head_size: int, scale: float, mask: Mask, batch: Batch) -> None:
        super().__init__()
        self._heads, self._kv_heads, self._head_size = n_heads, n_kv_heads, head_size
        self._scale, self._mask, self._batch = scale, mask, batch

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """States (n, heads * head_size) from queries (n, heads * head_size), keys and values (n, kv_heads * …)."""
        queries = queries.view(-1, self._heads, self._head_size)
        keys, values = (each.view(-1, self._kv_heads, self._head_size) for each in (keys, values))
        states = torch.empty_like(queries)
        for group in self._batch.groups:
            attended = self._attend(queries[group.rows], keys[group.rows], values[group.rows], group.mask(self._mask))
            states[group.rows[group.real]] = attended[group.real]
        return states.flatten(-2)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        shared = self._heads // self._kv_heads
        keys, values = (each.repeat_interleave(shared, dim=2) for each in (keys, values))
        queries, keys, values = (each.transpose(1, 2) for each in (queries, keys, values))  # (prompts, heads, n, size)
        return scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=self._scale).transpose(1, 2)
