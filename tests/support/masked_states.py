"""HatLLM by transformers: each layer with its mask written out."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.contract.hatllm import HatLayout, segments, visible
from models.contract.types import Floats, Ints


@torch.no_grad()
def masked_state(body: Any, tokens: Ints, layout: HatLayout) -> Floats:
    """(hidden,) a prompt's last state, after the norm; ``body`` is a causal language model's, without its head."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    found = segments(ids, torch.arange(len(tokens)), layout)
    kinds, hooks = getattr(body.config, "layer_types", None), []
    for number, (layer, mask) in enumerate(zip(body.layers, layout.masks, strict=True)):
        seen = visible(mask, found)[:, None]
        if kinds is not None and kinds[number] == "sliding_attention":
            seen = seen & ~torch.ones_like(seen).tril(-body.config.sliding_window)
        hooks.append(layer.register_forward_pre_hook(_with_mask(seen), with_kwargs=True))
    state: Floats = body(input_ids=ids).last_hidden_state[0, -1].numpy()
    for hook in hooks:
        hook.remove()
    return state


def _with_mask(seen: Tensor) -> Any:
    additive = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
    return lambda _, args, kwargs: (args, kwargs | {"attention_mask": additive})
