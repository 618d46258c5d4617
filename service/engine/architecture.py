"""Reading a Hugging Face model's modules into a decoder; what is not known to be right is refused.

Known are the families of Llama, Qwen2 (attention with bias), Qwen3 (normed queries and keys) and Gemma3 (norms around
both parts, scaled embedding, layers with a window and rotary embeddings of their own). Each of them can be masked as
HatLLM's layers are, where ``config.json`` says so.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.contract.errors import BundleError
from models.contract.hatllm import CONFIG_KEY, HatLayout, Mask
from service.engine.decoder import EMBEDDING_LEVEL, Decoder, Embedding, Heads, Layer, Projection, Rotations
from service.engine.lora import LoraStack, LoraTarget
from service.engine.product import product

FAMILIES = ("llama", "qwen2", "qwen3", "gemma3_text")
FULL, WINDOWED = "full_attention", "sliding_attention"
# Configuration keys that change a pass in ways that are not followed here.
_NOT_FOLLOWED = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "attn_logit_softcapping",
    "use_bidirectional_attention",
)
_ROTATIONS_BY_LENGTH = ("dynamic", "longrope")  # a batch of prompts of several lengths would need several tables


def check_architecture(config: Any) -> None:
    """Raises BundleError, saying why, where a checkpoint's configuration asks for what this engine cannot compute."""
    if config.model_type not in FAMILIES:
        raise BundleError(f"architecture {config.model_type} is not known; expected one of {', '.join(FAMILIES)}")
    for key in _NOT_FOLLOWED:
        if getattr(config, key, None):
            raise BundleError(f"{key} in config.json is not supported")
    for kind in _rope_types(config):
        if kind in _ROTATIONS_BY_LENGTH:
            raise BundleError(f"rope_type {kind} in config.json is not supported")
    _layout(config)


def read_decoder(model: Any, rank: int, table_rank: int, dtype: torch.dtype) -> tuple[Decoder, dict[str, LoraStack]]:
    """The decoder of a causal language model, and what adapters can change in it by module name.

    Args:
        model: Hugging Face's, in float32; its parts are converted, its layers' weights copied, so that it can be
            dropped.
        rank: of every adapter on the layers.
        table_rank: of every adapter on input embedding and output head.
        dtype: of embedding and layers.
    """
    body = model.base_model
    for part in (model.get_input_embeddings(), body.layers, body.norm):  # but not the rotary embeddings' frequencies
        part.to(dtype)
    names = {module: name for name, module in model.named_modules()}
    read = _Reader(names, rank)
    layout = _layout(model.config)
    plain: Mask = "causal"
    masks = (plain,) * len(body.layers) if layout is None else layout.masks
    layers = [read.layer(module, model.config, number, masks[number]) for number, module in enumerate(body.layers)]
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    read.stacks[names[embedding]] = table = _embedding_stack(embedding, table_rank)
    target = LoraTarget(head.out_features, head.in_features, table_rank)
    # In float32, as all of the head: numbers rounded to bfloat16 would give many tokens one score.
    read.stacks[names[head]] = LoraStack(target, head.weight.new_empty(0, dtype=torch.float32), len(layers))
    decoder = Decoder(Embedding(embedding, table), layers, body.norm, _rotations(body, model.config), layout)
    return decoder, read.stacks


class _Reader:
    """Collects the stacks of the projections that it reads."""

    def __init__(self, names: Mapping[nn.Module, str], rank: int) -> None:
        self.stacks: dict[str, LoraStack] = {}
        self._names = names
        self._rank = rank

    def layer(self, module: Any, config: Any, number: int, mask: Mask) -> Layer:
        attention, feedforward = module.self_attn, module.mlp
        around = hasattr(module, "pre_feedforward_layernorm")  # Gemma: norms behind both parts too
        before = module.pre_feedforward_layernorm if around else module.post_attention_layernorm
        return Layer(
            heads=_heads(attention, config, number, mask),
            queries=self._projection(number, attention.q_proj),
            keys_values=self._projection(number, attention.k_proj, attention.v_proj),
            out=self._projection(number, attention.o_proj),
            gate_up=self._projection(number, feedforward.gate_proj, feedforward.up_proj),
            down=self._projection(number, feedforward.down_proj),
            activation=feedforward.act_fn,
            attention_norm=module.input_layernorm,
            attention_out_norm=module.post_attention_layernorm if around else None,
            feedforward_norm=before,
            feedforward_out_norm=module.post_feedforward_layernorm if around else None,
        )

    def _projection(self, level: int, *modules: nn.Linear) -> Projection:
        stacks = tuple(self._stack(module, level) for module in modules)
        biases = [module.bias.detach() for module in modules if module.bias is not None]
        weight = torch.cat([module.weight.detach() for module in modules])
        return Projection(product(weight, torch.cat(biases) if biases else None), stacks)

    def _stack(self, module: nn.Linear, level: int) -> LoraStack:
        target = LoraTarget(module.out_features, module.in_features, self._rank)
        stack = self.stacks[self._names[module]] = LoraStack(target, module.weight.detach(), level)
        return stack


def _embedding_stack(module: nn.Embedding, rank: int) -> LoraStack:
    target = LoraTarget(module.embedding_dim, module.num_embeddings, rank, is_embedding=True)
    gain = float(getattr(module, "embed_scale", 1.0))  # Gemma multiplies its embeddings on the way in
    return LoraStack(target, module.weight.detach(), EMBEDDING_LEVEL, gain)


def _layout(config: Any) -> HatLayout | None:
    """HatLLM's, where ``config.json`` holds one. Raises BundleError where it is malformed."""
    given = getattr(config, CONFIG_KEY, None)
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise BundleError(f"config.json, {CONFIG_KEY}: expected an object, got {given!r}")
    return HatLayout.of_config(given, config.num_hidden_layers)


def _heads(attention: Any, config: Any, number: int, mask: Mask) -> Heads:
    kinds = getattr(config, "layer_types", None)
    kind = kinds[number] if kinds else FULL
    return Heads(
        n=attention.q_proj.out_features // attention.head_dim,
        n_shared=attention.k_proj.out_features // attention.head_dim,
        size=attention.head_dim,
        scaling=attention.scaling,
        kind=kind,
        window=config.sliding_window if kind == WINDOWED else None,
        mask=mask,
        query_norm=getattr(attention, "q_norm", None),
        key_norm=getattr(attention, "k_norm", None),
    )


def _rotations(body: Any, config: Any) -> Callable[[int], Rotations]:
    kinds = sorted(set(getattr(config, "layer_types", None) or [FULL]))
    by_kind = hasattr(body.rotary_emb, "layer_types")
    like = body.norm.weight

    def tables(n_positions: int) -> Rotations:
        places = torch.arange(n_positions, device=like.device)[None]
        return {kind: _table(body.rotary_emb(like, places, *([kind] if by_kind else []))) for kind in kinds}

    return tables


def _table(both: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    cos, sin = both
    return cos[0], sin[0]


def _rope_types(config: Any) -> list[str]:
    parameters = getattr(config, "rope_parameters", None) or {}
    nested = [each for each in parameters.values() if isinstance(each, Mapping)]
    return [each["rope_type"] for each in nested or [parameters] if "rope_type" in each]
