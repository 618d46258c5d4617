"""How a user's history becomes what the language model reads. Built once, here, for training, evaluation and serving.

Item-token form: the vocabulary is the catalogue. Token ids 0 … n_items - 1 are the item numbers; ``n_items`` is the
start token, so that an empty history has a prompt too.
"""

from collections.abc import Sequence

from models.contract.types import Ints


def start_token(n_items: int) -> int:
    """Token id of the start of a history."""
    return n_items


def item_prompt(history: Sequence[int] | Ints, n_items: int, history_length: int) -> list[int]:
    """Token ids of the last ``history_length`` items of a history (oldest first), after the start token."""
    recent = history[-history_length:] if history_length else history[:0]
    return [start_token(n_items), *(int(item) for item in recent)]
