"""What a bundle's manifest says of its models: all that workers and gateway must know to serve them."""

from typing import Literal

import msgspec

Form = Literal["item-token", "title"]
FurtherPart = Literal["collm", "hatllm", "ulmrec", "l2rec"]
"""The models that a bundle may have beside the local ones."""
Part = Literal["local", FurtherPart]
"""A bundle's models: the local ones, which every bundle has, and the others."""


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker must know to serve the local models, and a gateway to call them.

    ``item_tokens`` is how many tokens of a prompt one item of history takes at most: 1 in the item-token form.
    ``table_rank`` is the rank of what adapters add to the vocabulary: 0 where they share the checkpoint's item table.
    """

    form: Form
    history_length: int
    n_items: int
    lora_rank: int
    adapters: tuple[str, ...]
    base_model: str
    item_tokens: int = 1
    table_rank: int = 0


class CoLLMSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """CoLLM, as workers and gateway must know it; prompts are in :mod:`models.contract.collm`.

    Args:
        base_model: name of the backbone.
        cf: the collaborative model whose vectors were mapped.
        lora_rank: of the adapter.
        max_tokens: of the longest prompt.
        answer: the token whose logit is the score, as the tokenizer spells it, such as ``ĠYes``.
        answer_token: its id.
    """

    base_model: str
    cf: str
    lora_rank: int
    max_tokens: int
    answer: str
    answer_token: int


class HatLLMSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """HatLLM, as workers and gateway must know it; which layer is masked how is in the checkpoint's ``config.json``.

    Args:
        base_model: name of the backbone.
        history_length: items of a prompt at most.
        lora_rank: of the adapter.
        max_tokens: of the longest prompt.
    """

    base_model: str
    history_length: int
    lora_rank: int
    max_tokens: int


class ULMRecSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ULMRec, as workers and gateway must know it; prompts are in :mod:`models.contract.ulmrec`.

    Args:
        base_model: name of the backbone.
        candidates: that a prompt can hold, each with a letter.
        lora_rank: of the adapter.
        max_tokens: of the longest prompt.
    """

    base_model: str
    candidates: int
    lora_rank: int
    max_tokens: int


class L2RecSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """L2Rec, as workers and gateway must know it; see :mod:`models.contract.l2rec`.

    Args:
        base_model: name of the backbone.
        history_length: items of a prompt at most.
        user_size: numbers of the embedding that routes a user: those of the global CF model's.
        lora_rank: of an expert.
        max_tokens: of the longest prompt.
    """

    base_model: str
    history_length: int
    user_size: int
    lora_rank: int
    max_tokens: int


FurtherSpec = CoLLMSpec | HatLLMSpec | ULMRecSpec | L2RecSpec
