"""The families of language models whose layers are cut, as small as their configurations allow."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config, Qwen3Config

from models.llm.backbone import Backbone

SMALL = {
    "vocab_size": 16,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,  # states of different prompts must differ clearly
}
FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SMALL),
    "qwen2, attention with bias": lambda: Qwen2Config(**SMALL),
    "qwen3, queries and keys with a norm": lambda: Qwen3Config(**SMALL),
    "gemma3, scaled embedding, every second layer with a window": lambda: Gemma3TextConfig(
        **SMALL, sliding_window=2, layer_types=["sliding_attention", "full_attention"] * 2, query_pre_attn_scalar=16
    ),
}


def random_backbone(config: Any) -> Backbone:
    """A frozen model of random weights, the same in every call, without a tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    return Backbone("", model.eval().requires_grad_(False), None)
