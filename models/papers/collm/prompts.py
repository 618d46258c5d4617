"""Making CoLLM's prompts from a backbone's tokenizer and a catalogue; what they are: ``models.contract.collm``."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.contract.catalogue import Catalogue, Item
from models.contract.collm import ANSWER, TEXTS, TITLE, CoLLMPrompts
from models.contract.errors import ConfigError
from models.contract.redis_schema import item_hash
from models.contract.types import item_numbers
from models.data.labelled import LabelledData, LabelledPairs
from models.llm.backbone import Backbone
from models.llm.items import item_text, one_line
from models.papers.collm.config import CoLLMConfig

Featured = Literal["nobody", "known", "everyone"]

_QUOTES = str.maketrans('"“”„«»', "''''''")
_OPEN, _CLOSE = TITLE.split("{}")


def make_prompts(
    backbone: Backbone,
    catalogue: Catalogue,
    user_ids: Sequence[str],
    known_items: NDArray[np.bool_],
    config: CoLLMConfig,
) -> CoLLMPrompts:
    """The prompts of one model.

    Args:
        backbone: whose tokenizer is used.
        catalogue: items; each is called by its title, or what else there is of it, or its id.
        user_ids: users whom the collaborative model knows, in the order of their tokens.
        known_items: (n_items,) items that it knows.
        config: lengths.

    Raises:
        ConfigError: the longest prompt does not fit into the backbone's context.
    """
    pieces = {name: item_numbers(_tokens(backbone, [text])[0]) for name, text in TEXTS.items()}
    titles = _titles(backbone, catalogue.items, config.title_tokens)
    prompts = CoLLMPrompts(
        pieces=pieces,
        offsets=np.concatenate([[0], np.cumsum([len(ids) for ids in titles])]).astype(np.int64),
        ids=item_numbers([i for ids in titles for i in ids]),
        n_words=int(backbone.model.get_input_embeddings().weight.shape[0]),
        users=np.asarray([item_hash(user_id) for user_id in user_ids], np.uint64),
        known_items=known_items,
        history_length=config.history_length,
    )
    context = int(backbone.model.config.max_position_embeddings)
    if prompts.longest >= context:  # servers count the token that would be generated, too
        raise ConfigError(
            f"collm.history_length, collm.title_tokens: prompts of up to {prompts.longest} tokens;"
            f" expected at most {context - 1}, one less than the context of backbone {backbone.name!r}"
        )
    return prompts


def labelled_prompts(backbone: Backbone, data: LabelledData, config: CoLLMConfig) -> CoLLMPrompts:
    """The prompts for labelled data: users and items of the training pairs are known."""
    known_users, known_items = known(data)
    user_ids = [user_id for user_id, met in zip(data.user_ids, known_users, strict=True) if met]
    return make_prompts(backbone, data.catalogue, user_ids, known_items, config)


def known(data: LabelledData) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n_users,) and (n_items,) whom and what the training pairs have."""
    return _met(data.train.users, len(data.user_ids)), _met(data.train.items, len(data.catalogue))


def answer_token(backbone: Backbone) -> int:
    """Id of the token whose logit is the score. Raises ConfigError where " Yes" is not one token."""
    ids = _tokens(backbone, [ANSWER])[0]
    if len(ids) != 1:
        raise ConfigError(f"backbone: {backbone.name!r} reads {ANSWER!r} as {len(ids)} tokens; expected one")
    return ids[0]


def clean(text: str) -> str:
    """A title as it can stand between quotation marks: on one line, with marks of another kind inside."""
    return one_line(text).translate(_QUOTES)


class PairPrompts:
    """Token ids of pairs, each made when it is asked for.

    Args:
        prompts: of the model.
        data: whose pairs these are, for the users' rows in it.
        featured: whose prompts have features, where the item is known: nobody's; those of ``known`` users; or
            ``everyone``'s, where vectors come from histories. Who has no token of their own has the first user's: what
            is encoded there is the pair's own vector.
    """

    def __init__(self, prompts: CoLLMPrompts, data: LabelledData, featured: Featured) -> None:
        known_users, _ = known(data)
        self._prompts = prompts
        self._rows: list[int | None] = [0 if featured == "everyone" else None] * len(data.user_ids)
        if featured != "nobody":
            for token, row in enumerate(np.flatnonzero(known_users)):
                self._rows[row] = token

    def __call__(self, pairs: LabelledPairs, rows: Iterable[int]) -> list[NDArray[np.int32]]:
        """Prompts of some of the pairs."""
        return [self._prompt(pairs, row) for row in rows]

    def _prompt(self, pairs: LabelledPairs, row: int) -> NDArray[np.int32]:
        user = self._rows[int(pairs.users[row])]
        return self._prompts.prompts(pairs.histories[row], pairs.items[row : row + 1], user)[0]


def _titles(backbone: Backbone, items: Sequence[Item], max_tokens: int) -> list[list[int]]:
    opening, closing = _tokens(backbone, [_OPEN, _CLOSE])
    texts = [_called(item) for item in items]
    whole = _tokens(backbone, [f"{_OPEN}{text}{_CLOSE}" for text in texts])
    return [_cut(ids, opening, closing, max_tokens) for ids in whole]


def _called(item: Item) -> str:
    return clean(item.title or "") or clean(item_text(item)) or clean(item.item_id) or "?"


def _cut(ids: list[int], opening: list[int], closing: list[int], max_tokens: int) -> list[int]:
    """A quoted title, without its end where it is too long."""
    longest = max_tokens + len(opening) + len(closing)
    return ids if len(ids) <= longest else [*ids[: longest - len(closing)], *closing]


def _tokens(backbone: Backbone, texts: Sequence[str]) -> list[list[int]]:
    ids: list[list[int]] = backbone.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids


def _met(rows: NDArray[np.int64] | NDArray[np.int32], n: int) -> NDArray[np.bool_]:
    met = np.zeros(n, np.bool_)
    met[rows] = True
    return met
