"""Running a decoder under HatLLM's masks (Cui et al., 2025, equations 2 to 5), in two ways that agree.

:func:`masked_states` is the reference: every token through every layer, each layer with its mask.
:func:`asked_states` computes only what the states that are asked for depend on. Going back from them, a layer's inputs
are the tokens that its outputs see: under a cross-item layer, the instruction and the items' last tokens. What nobody
needs any more is dropped after the layer that needed it last, and in that layer it gives keys and values only.

Layers whose backbone attends within a window do so under every mask.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from models.contract.hatllm import HatLayout, Segments, segments
from models.llm.backbone import cache_name
from models.papers.hatllm.plan import Masks, Step, at, make_plan


def masked_states(decoder: Any, inputs: Tensor, found: Segments, layout: HatLayout) -> Tensor:
    """States (b, n, hidden) after the final norm: all tokens through all layers.

    Args:
        decoder: of transformers, built like Llama, with SDPA.
        inputs: (b, n, hidden) the tokens' embeddings.
        found: the tokens' segments, of shape (b, n).
        layout: one mask a layer.
    """
    masks = Masks(found, inputs.dtype)
    given = [masks.added(mask, window) for mask, window in zip(layout.masks, windows(decoder), strict=True)]
    with _given(decoder.layers, given):
        states: Tensor = decoder(inputs_embeds=inputs, position_ids=found.places, use_cache=False).last_hidden_state
    return states


def asked_states(decoder: Any, inputs: Tensor, where: Tensor, found: Segments, layout: HatLayout) -> Tensor:
    """States (m, hidden) after the final norm at the m tokens where ``where`` (b, n) is true, in that order.

    The other arguments are those of :func:`masked_states`, and so are the states.
    """
    plan = make_plan(layout.masks, windows(decoder), where, Masks(found, inputs.dtype))
    states = at(inputs, plan.kept)
    turned: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
    for number, (layer, step) in enumerate(zip(decoder.layers, plan.steps, strict=True)):
        kind = _kind(decoder, number)
        key = (id(step.places), kind)
        if key not in turned:
            turned[key] = _rotary(decoder, states, step.places, kind)
        states = _run(layer, states, turned[key], step)
    normed: Tensor = decoder.norm(states[plan.asked])
    return normed


def segments_of(tokens: Tensor, layout: HatLayout) -> Segments:
    """Which token of prompts (b, n), one a row and padded on the right, belongs to which item."""
    return segments(tokens, torch.arange(tokens.shape[1], device=tokens.device), layout)


def windows(decoder: Any) -> list[int | None]:
    """How many tokens back each layer of a backbone sees; None: all."""
    config = decoder.config
    return [config.sliding_window if kind == "sliding_attention" else None for kind in _kinds(decoder)]


def _run(layer: Any, states: Tensor, turned: tuple[Tensor, Tensor], step: Step) -> Tensor:
    """One layer: (b, k, hidden) to (b, q, hidden) of those that somebody needs."""
    if step.asked is None:
        output: Tensor = layer(states, attention_mask=step.mask, position_embeddings=turned)
        return output
    held = _Held(*_keys_and_values(layer, states, turned))
    cos, sin = turned
    asked = (at(cos, step.asked), at(sin, step.asked))
    output = layer(
        at(states, step.asked), attention_mask=step.mask, position_embeddings=asked, **{cache_name(layer): held}
    )
    return output


class _Held:
    """A cache for one call: the layer attends to the keys and values held here, instead of to its inputs' own."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._held = keys, values

    def update(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values (b, heads, k, d)."""
        return self._held


def _keys_and_values(layer: Any, states: Tensor, turned: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A layer's keys and values of states (b, k, hidden), each (b, heads, k, d): the keys normed and turned."""
    attention, normed = layer.self_attn, layer.input_layernorm(states)
    shape = (*states.shape[:2], -1, attention.head_dim)
    keys = attention.k_proj(normed).view(shape).transpose(1, 2)
    values = attention.v_proj(normed).view(shape).transpose(1, 2)
    if hasattr(attention, "k_norm"):  # Qwen3, Gemma3
        keys = attention.k_norm(keys)
    cos, sin = (angle.unsqueeze(1) for angle in turned)
    left, right = keys.chunk(2, dim=-1)
    return keys * cos + torch.cat([-right, left], dim=-1) * sin, values


def _kinds(decoder: Any) -> list[str]:
    kinds = getattr(decoder.config, "layer_types", None)
    return list(kinds or ["full_attention"] * len(decoder.layers))


def _kind(decoder: Any, layer: int) -> str:
    """Of a layer's angles: layers that attend within windows may turn by others."""
    return _kinds(decoder)[layer] if "layer_type" in inspect.signature(decoder.rotary_emb.forward).parameters else ""


def _rotary(decoder: Any, states: Tensor, places: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Cosines and sines (b, k, d) of the tokens' places."""
    turned: tuple[Tensor, Tensor] = decoder.rotary_emb(states, places, *([kind] if kind else []))
    return turned


@contextmanager
def _given(layers: Any, masks: Sequence[Tensor]) -> Iterator[None]:
    """Run layers with these masks instead of those that the decoder gives them."""

    def replaced(mask: Tensor) -> Any:
        return lambda _, args, kwargs: (args, kwargs | {"attention_mask": mask})

    hooks = [
        layer.register_forward_pre_hook(replaced(mask), with_kwargs=True)
        for layer, mask in zip(layers, masks, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
