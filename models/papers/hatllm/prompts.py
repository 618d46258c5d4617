"""HatLLM's prompts (Cui et al., 2025, Table 1): an instruction, then the titles, each ended by a separator."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.contract.catalogue import Item
from models.contract.errors import ConfigError
from models.contract.hatllm import HatLayout, Mask
from models.contract.prompts import TitleTokens
from models.llm.backbone import Backbone
from models.llm.items import item_text, one_line
from models.llm.title import SEPARATOR

_CHARACTERS = 16  # of a title, for each token that is kept


@dataclass(frozen=True)
class Domain:
    """The words of the instruction: what the items are, and what users do with them."""

    item: str = "item"
    items: str = "items"
    verb: str = "bought"

    @property
    def instruction(self) -> str:
        """The text that begins every prompt."""
        return (
            f"Given a list of {self.items} the user has {self.verb} before, please recommend a new {self.item} that the"
            f" user likes to the user. The user has {self.verb} the following {self.items} before:"
        )


def hat_titles(backbone: Backbone, items: Sequence[Item], max_tokens: int, domain: Domain | None = None) -> TitleTokens:
    """What each item looks like in a prompt: its title (what else it has where it has none) and one separator.

    Each piece is tokenized by itself, and no title holds the separator, so that it ends items and nothing else.

    Args:
        backbone: whose tokenizer is used.
        items: the catalogue.
        max_tokens: of one item, separator included, at least one.
        domain: the words of the instruction.
    """
    return instructed_titles(backbone, [_title(item) for item in items], max_tokens, (domain or Domain()).instruction)


def instructed_titles(backbone: Backbone, texts: Sequence[str], max_tokens: int, instruction: str) -> TitleTokens:
    """The same of any texts, one an item, each of one line, after any instruction.

    Args:
        backbone: whose tokenizer is used.
        texts: of the items of the catalogue.
        max_tokens: of one item, separator included, at least one.
        instruction: the text that begins every prompt; of an empty one, a token that says nothing.
    """
    tokenizer = backbone.tokenizer
    separator = separator_token(tokenizer)
    start = tokenizer(instruction)["input_ids"] or [_neutral(tokenizer)]
    cut = [text[: _CHARACTERS * max_tokens] for text in texts]
    words = tokenizer(cut, add_special_tokens=False)["input_ids"] if cut else []
    kept = [[*[i for i in ids if i != separator][: max_tokens - 1], separator] for ids in words]
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in kept])]).astype(np.int64)
    n_words = int(backbone.model.get_input_embeddings().weight.shape[0])
    return TitleTokens(tuple(start), offsets, np.asarray([i for ids in kept for i in ids], np.int32), n_words)


def separator_token(tokenizer: Any) -> int:
    """The token that ends items: the newline's last one, or where a tokenizer drops newlines, its end or start."""
    ids = tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"]
    return int(ids[-1]) if ids and ids[-1] != tokenizer.unk_token_id else _neutral(tokenizer)


def layout_of(titles: TitleTokens, masks: Sequence[Mask]) -> HatLayout:
    """How a model of these masks, one a layer, reads these prompts. The catalogue has an item at least."""
    return HatLayout(tuple(masks), len(titles.start), int(titles.ids[-1]))


def check_context(titles: TitleTokens, history_length: int, backbone: Backbone) -> None:
    """Raises ConfigError where the longest prompt is longer than what the backbone reads."""
    wanted = len(titles.start) + history_length * titles.longest
    context = int(backbone.model.config.max_position_embeddings)
    if wanted >= context:  # servers count the token that would be generated, too
        raise ConfigError(
            f"history_length: {history_length} items of up to {titles.longest} tokens make prompts of {wanted},"
            f" the backbone reads {context}, one behind the prompt included; expected fewer items or title_tokens"
        )


def with_placeholders(titles: TitleTokens) -> TitleTokens:
    """The same titles, each with one token more before its separator, which stands for the item itself.

    Item i's is ``n_words + i``; a model puts a mapped vector of a collaborative model there (hybrid prompting, Liao et
    al., "LLaRA", 2024).
    """
    ends = titles.offsets[1:] - 1  # the separators' places
    placeholders = np.arange(titles.n_items, dtype=np.int32) + titles.n_words
    ids = np.insert(titles.ids, ends, placeholders)
    return TitleTokens(titles.start, titles.offsets + np.arange(titles.n_items + 1), ids, titles.n_words)


def _title(item: Item) -> str:
    """What an item is called: its title, else what else is known of it, else its id."""
    return one_line(item.title or "") or one_line(item_text(item)) or one_line(item.item_id)


def _neutral(tokenizer: Any) -> int:
    return int(next(i for i in (tokenizer.eos_token_id, tokenizer.bos_token_id, 0) if i is not None))
