"""HatLLM's attention (Cui et al., "HatLLM: Hierarchical Attention Masking …", 2025), for training and every server.

A prompt is an instruction, then the titles of the history, each ended by a separator that no title holds. So which
token belongs to which item is found from the token ids alone: a server needs nothing beside the prompt.

The functions take numpy arrays and torch tensors alike: the equations stand here once.

Files of the bundle's part ``hatllm/``:

```
checkpoint/               words, layers and final norm; config.json holds the layout under ``hatllm``
adapters/hatllm/          the adapter
title_tokens.safetensors  what each item looks like in a prompt, see models.contract.prompts.TitleTokens
item_rows.npy             (n_items, hidden) float32: a state's inner products with them are the items' scores
probe.safetensors         see models.contract.probe
```
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, Self, TypeVar, get_args

import msgspec

from models.contract.errors import BundleError

PART: Literal["hatllm"] = "hatllm"
CONFIG_KEY = "hatllm"  # of config.json
ITEM_ROWS = "item_rows.npy"
VLLM_ARCHITECTURES = {
    "LlamaForCausalLM": "HatLlamaForEmbedding",
    "Qwen2ForCausalLM": "HatQwen2ForEmbedding",
    "Qwen3ForCausalLM": "HatQwen3ForEmbedding",
}
"""By the checkpoint's architecture, that of our plugin for vLLM."""

Mask = Literal["intra", "causal", "cross", "cross-pre"]
"""How a layer attends: within items (IN, equation 3), as ever (OR, equation 2), between the items' last tokens (CR,
equation 5), or to all tokens of other items (CR-pre, equation 4)."""

A = TypeVar("A", bound=Any)  # a numpy array or a torch tensor


class ItemLayout(Protocol):
    """How prompts are read that hold items, each ended by a separator; fields as in :class:`HatLayout`."""

    @property
    def instruction_tokens(self) -> int: ...

    @property
    def separator(self) -> int: ...


@dataclass(frozen=True)
class HatLayout:
    """Which layer attends how, and how prompts are read.

    Args:
        masks: one a layer, shallow first.
        instruction_tokens: how many tokens at the start of each prompt belong to no item (F = 0).
        separator: token id that ends each item; it is the item's last token (L = 1).
    """

    masks: tuple[Mask, ...]
    instruction_tokens: int
    separator: int

    def as_config(self) -> dict[str, Any]:
        """What ``config.json`` holds under ``CONFIG_KEY``."""
        return asdict(self)

    @classmethod
    def of_config(cls, config: Mapping[str, Any], n_layers: int) -> Self:
        """Read a checkpoint's layout. Raises BundleError where it is malformed or of another number of layers."""
        try:
            layout = msgspec.convert(dict(config), cls)
        except msgspec.ValidationError as exc:
            raise BundleError(f"config.json, {CONFIG_KEY}: {exc}; masks are of {', '.join(get_args(Mask))}") from exc
        if len(layout.masks) != n_layers:
            raise BundleError(f"config.json, {CONFIG_KEY}: {len(layout.masks)} masks for {n_layers} layers")
        return layout


@dataclass(frozen=True)
class Segments:
    """Which token belongs to which item; arrays of shape (…, n).

    Args:
        items: the item's place in the history, from 0; -1 for tokens of the instruction (F = 0).
        last: whether a token is the last one of its item (L = 1).
        places: of the tokens in their sequence, from 0.
        sequences: whose tokens they are, where a row packs several sequences; None: one a row.
    """

    items: Any
    last: Any
    places: Any
    sequences: Any = None


def segments(tokens: A, places: A, layout: ItemLayout) -> Segments:
    """Find the items of one sequence a row.

    Args:
        tokens: (…, n) token ids; what pads a row stands on the right, where no token sees it.
        places: (…, n) or (n,) 0, 1, … in each row.
        layout: of the prompts.
    """
    places = places + tokens * 0  # one row of places a row of tokens
    of_items = places >= layout.instruction_tokens
    last = (tokens == layout.separator) & of_items
    before = last.cumsum(-1) - last * 1  # items that have ended before each token
    return Segments((before + 1) * of_items - 1, last, places)


def visible(mask: Mask, found: Segments) -> Any:
    """Which token k (last axis) token j sees: (…, n, n) bool. Equations 2 to 5 of the paper.

    Every token sees itself, so no row is empty.
    """
    of_items = found.items >= 0  # F
    places_j, places_k = _pairs(found.places)
    causal = places_j >= places_k
    if found.sequences is not None:
        sequences_j, sequences_k = _pairs(found.sequences)
        causal = causal & (sequences_j == sequences_k)
    if mask == "causal":
        return causal
    of_items_j, of_items_k = _pairs(of_items)
    both = of_items_j & of_items_k
    if mask == "cross":
        last_j, last_k = _pairs(found.last)
        return causal & ~(both & (places_j != places_k) & ~(last_j & last_k))
    items_j, items_k = _pairs(found.items)
    same = items_j == items_k
    if mask == "intra":
        return causal & ~(both & ~same)
    return causal & ~(both & same & (places_j != places_k))


def _pairs(values: Any) -> tuple[Any, Any]:
    return values[..., :, None], values[..., None, :]
