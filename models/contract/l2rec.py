"""L2Rec's files and prompts ("L2Rec: Towards Dual-View Understanding of LLMs for Personalized Recommendation", 2026).

A prompt is an instruction, then the texts of the history's items, oldest first, each ended by a separator that no text
holds, as HatLLM's is. Both views are read out of it: the semantic one is all of its tokens, the behavioural one is one
vector an item, pooled over the item's tokens. So a server needs the token ids, and the user's embedding, which routes.

An item is read as a history of itself, of nobody: its embedding is zero.

Files of the bundle's part ``l2rec/``:

```
checkpoint/               the frozen backbone; config.json holds under ``l2rec`` what the base model's answers depend
                          on: the layout, and the experts' pooling and views, so that base ids differ where these do
adapters/l2rec/           experts.json, experts.safetensors: experts, routers, projector and fusion
title_tokens.safetensors  what each item looks like in a prompt, see models.contract.prompts.TitleTokens
item_rows.npy             (n_items, d) float32 of length 1: a user's inner products with them are the items' scores
probe.safetensors         see models.contract.probe
```
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import msgspec

from models.contract.errors import BundleError

PART: Literal["l2rec"] = "l2rec"
CONFIG_KEY = "l2rec"  # of config.json
ITEM_ROWS = "item_rows.npy"
EXPERTS_CONFIG, EXPERTS_WEIGHTS = "experts.json", "experts.safetensors"


@dataclass(frozen=True)
class L2RecLayout:
    """How prompts are read: :func:`models.contract.hatllm.segments` takes it.

    Args:
        instruction_tokens: how many tokens at the start of each prompt belong to no item.
        separator: token id that ends each item.
    """

    instruction_tokens: int
    separator: int

    def as_config(self) -> dict[str, Any]:
        """What ``config.json`` holds under ``CONFIG_KEY``."""
        return asdict(self)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        """Read a checkpoint's layout. Raises BundleError where it is malformed."""
        try:
            layout = msgspec.convert(dict(config), cls)
        except msgspec.ValidationError as exc:
            raise BundleError(f"config.json, {CONFIG_KEY}: {exc}") from exc
        if layout.instruction_tokens < 0 or layout.separator < 0:
            raise BundleError(f"config.json, {CONFIG_KEY}: {layout}; numbers of tokens and token ids are not negative")
        return layout
