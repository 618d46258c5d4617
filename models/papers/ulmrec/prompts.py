"""Making ULMRec's prompts from a backbone's tokenizer and a catalogue; what they are: ``models.contract.ulmrec``."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.contract.catalogue import Item
from models.contract.errors import ConfigError
from models.contract.redis_schema import item_hash
from models.contract.types import Ints, item_numbers
from models.contract.ulmrec import AFTER_INDEX, LETTER, LETTERS, NUMBER, TEXTS, TITLE, ULMRecPrompts
from models.llm.backbone import Backbone
from models.llm.items import item_text, one_line
from models.papers.ulmrec.config import ULMRecConfig


@dataclass(frozen=True)
class IndexedUsers:
    """Users who have an index of tokens.

    Args:
        ids: of the users, by row.
        indices: (n_users, levels) int32.
        codes: of a level.
    """

    ids: Sequence[str]
    indices: Ints
    codes: int


NOBODY = IndexedUsers((), np.empty((0, 0), np.int32), 0)


def ulmrec_prompts(
    backbone: Backbone, items: Sequence[Item], config: ULMRecConfig, users: IndexedUsers = NOBODY
) -> ULMRecPrompts:
    """The prompts of one model.

    Args:
        backbone: whose tokenizer is used.
        items: by number; each is called by its title, or what else there is of it, or its id.
        config: lengths.
        users: whose index tokens are in the vocabulary.

    Raises:
        ConfigError: the tokenizer has no token for a letter, or the longest prompt does not fit into the backbone's
            context.
    """
    titles = [item_numbers(ids) for ids in _titles(backbone, items, config.title_tokens)]
    texts = {**TEXTS, "after_index": AFTER_INDEX}
    prompts = ULMRecPrompts(
        pieces={name: token_ids(backbone, text) for name, text in texts.items()},
        numbers=tuple(token_ids(backbone, NUMBER.format(place + 1)) for place in range(config.history_length)),
        letters=tuple(token_ids(backbone, LETTER.format(letter)) for letter in LETTERS[: config.candidates]),
        answers=answer_tokens(backbone, config.candidates),
        offsets=np.concatenate([[0], np.cumsum([len(ids) for ids in titles])]).astype(np.int64),
        ids=np.concatenate([item_numbers([]), *titles]),
        n_words=int(backbone.model.get_input_embeddings().weight.shape[0]),
        codes=users.codes,
        users=np.asarray([item_hash(user_id) for user_id in users.ids], np.uint64),
        indices=users.indices,
    )
    check_length(backbone, prompts.longest)
    return prompts


def check_length(backbone: Backbone, longest: int) -> None:
    """Raises ConfigError where prompts of so many tokens do not fit into the backbone's context."""
    context = int(backbone.model.config.max_position_embeddings)
    if longest >= context:  # servers count the token that is generated, too
        raise ConfigError(
            f"ulmrec.history_length, ulmrec.candidates, ulmrec.title_tokens: prompts of up to {longest} tokens;"
            f" expected at most {context - 1}, one less than the context of backbone {backbone.name!r}"
        )


def answer_tokens(backbone: Backbone, n: int) -> Ints:
    """(n,) tokens that stand for the first letters as an answer: of "A", or of " A" where that alone is one token.

    Raises:
        ConfigError: the tokenizer splits a letter either way, or reads two letters alike.
    """
    complaint = ""
    for blank in ("", " "):
        tokens = [token_ids(backbone, blank + letter) for letter in LETTERS[:n]]
        complaint = complaint or _complaint(backbone, tokens)
        if not _complaint(backbone, tokens):
            return np.concatenate(tokens)
    raise ConfigError(f"ulmrec.backbone: the tokenizer of {backbone.name!r} reads {complaint}; expected one token each")


def token_ids(backbone: Backbone, text: str) -> Ints:
    """Token ids (int32) of a text by itself."""
    return item_numbers(backbone.tokenizer(text, add_special_tokens=False)["input_ids"])


def _complaint(backbone: Backbone, tokens: Sequence[Ints]) -> str:
    unknown, seen = backbone.tokenizer.unk_token_id, set[int]()
    for letter, ids in zip(LETTERS, tokens, strict=False):
        if len(ids) != 1:
            return f"the letter {letter!r} as {len(ids)} tokens"
        if ids[0] == unknown or ids[0] in seen:
            return f"the letter {letter!r} as a token that is not its own"
        seen.add(int(ids[0]))
    return ""


def _titles(backbone: Backbone, items: Sequence[Item], max_tokens: int) -> list[list[int]]:
    if not items:
        return []
    texts = [TITLE.format(_called(item)) for item in items]
    ids: list[list[int]] = backbone.tokenizer(texts, add_special_tokens=False)["input_ids"]
    nameless = token_ids(backbone, TITLE.format("?")).tolist()
    return [(tokens or nameless)[:max_tokens] for tokens in ids]


def _called(item: Item) -> str:
    return one_line(item.title or "") or one_line(item_text(item)) or one_line(item.item_id) or "?"
