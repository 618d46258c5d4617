"""Prompts of ULMRec's next-item task, word by word."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.ulmrec import CODES

from models.contract.catalogue import Item
from models.contract.errors import ConfigError
from models.contract.types import Ints
from models.contract.ulmrec import ULMRecPrompts
from models.llm.backbone import Backbone
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.prompts import IndexedUsers, answer_tokens, ulmrec_prompts

ITEMS = (
    Item("a", "red lamp"),
    Item("b", "blue\n boat"),
    Item("c", "red fox red fox red fox"),
    Item("d", None, brand="drum"),
    Item("ring", None),
)
USERS = IndexedUsers(("u0", "u1"), np.asarray([[1, 2], [7, 0]], np.int32), CODES)
OPENING = (
    "### Instruction : Given user ' s history in chronological order , recommend an item from the candidate pool with"
    " its index letter . ### Input :"
)


@pytest.fixture
def prompts(ranker: Backbone, tiny: ULMRecConfig) -> ULMRecPrompts:
    return ulmrec_prompts(ranker, ITEMS, tiny, USERS)


def words(backbone: Backbone, tokens: Ints) -> str:
    """Token ids as words; those of the index as numbers behind the vocabulary."""
    n = len(backbone.tokenizer)
    return " ".join(f"<{t - n}>" if t >= n else backbone.tokenizer.convert_ids_to_tokens(t) for t in tokens.tolist())


def test_a_prompt_is_that_of_figure_2(prompts: ULMRecPrompts, ranker: Backbone) -> None:
    assert words(ranker, prompts.prompt([3, 0, 1], [4, 2], np.asarray([7, 0], np.int32))) == (
        f"{OPENING} User index : <7> <8> ; User history : ( 1 ) drum ( 2 ) red lamp ( 3 ) blue boat"
        " Candidate pool : ( A ) ring ( B ) red fox red fox ### Response :"
    )


def test_without_index_it_is_llamarecs(prompts: ULMRecPrompts, ranker: Backbone) -> None:
    assert words(ranker, prompts.prompt([], [0], None)) == (
        f"{OPENING} User history : none Candidate pool : ( A ) red lamp ### Response :"
    )


def test_other_tokens_can_stand_for_the_user(prompts: ULMRecPrompts, ranker: Backbone) -> None:
    user = np.asarray(ranker.tokenizer.convert_tokens_to_ids(["4", "2"]), np.int32)
    assert " User index : 4 2 ; User history : ( 1 ) red lamp " in words(ranker, prompts.prompt_of([0], [1], user))


def test_the_answer_is_the_letter_that_stands_before_the_candidate(prompts: ULMRecPrompts, ranker: Backbone) -> None:
    assert words(ranker, prompts.answers) == "A B C D E F"


def test_users_are_known_by_id(prompts: ULMRecPrompts) -> None:
    index = prompts.user_index("u1")
    assert index is not None
    assert index.tolist() == [7, 0]
    assert prompts.user_index("u2") is None


def test_no_history_is_shown_where_none_fits(ranker: Backbone, tiny: ULMRecConfig) -> None:
    prompts = ulmrec_prompts(ranker, ITEMS, replace(tiny, history_length=0))
    assert "User history : none Candidate pool" in words(ranker, prompts.prompt([0, 1], [2], None))


def test_the_longest_prompt_is_known(prompts: ULMRecPrompts) -> None:
    longest = prompts.prompt([2] * 5, [2] * 6, np.asarray([0, 0], np.int32))
    assert prompts.longest == len(longest) + len(prompts.pieces["nothing"])


def test_a_context_that_is_too_short_is_named(ranker: Backbone, tiny: ULMRecConfig) -> None:
    with pytest.raises(
        ConfigError, match=r"ulmrec\.history_length.* prompts of up to \d+ tokens; expected at most 511"
    ):
        ulmrec_prompts(ranker, ITEMS, replace(tiny, history_length=200))


def test_a_letter_that_is_no_token_is_named(ranker: Backbone, tiny: ULMRecConfig) -> None:
    with pytest.raises(ConfigError, match="reads the letter 'I' as a token that is not its own; expected one token"):
        ulmrec_prompts(ranker, ITEMS, replace(tiny, candidates=12))


def splitting(*whole: str) -> Backbone:
    """A backbone whose tokenizer reads these texts as one token each and others letter by letter."""

    def read(text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [1000 + whole.index(text)] if text in whole else [ord(letter) for letter in f"_{text}"]}

    class Tokenizer:
        unk_token_id = None
        __call__ = staticmethod(read)

    return Backbone("odd", SimpleNamespace(), Tokenizer())


def test_letters_are_read_with_a_blank_where_alone_they_are_split() -> None:
    assert answer_tokens(splitting(" A", " B", "A"), 2).tolist() == [1000, 1001]
    assert answer_tokens(splitting(" A", " B", "A", "B"), 2).tolist() == [1002, 1003]


def test_a_letter_that_is_split_either_way_is_named() -> None:
    with pytest.raises(ConfigError, match="the tokenizer of 'odd' reads the letter 'B' as 2 tokens; expected one"):
        answer_tokens(splitting("A", " A"), 2)
