"""ULMRec's prompts."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from support.tensors import change_tensors

from models.contract.errors import BundleError
from models.contract.redis_schema import item_hash
from models.contract.ulmrec import PROMPTS, TEXTS, ULMRecPrompts


def tokens(*ids: int) -> np.ndarray:
    return np.asarray(ids, np.int32)


PIECES = {name: tokens(10 + place) for place, name in enumerate((*TEXTS, "after_index"))}
OPENING, USER, HISTORY, NOTHING, CANDIDATES, CLOSING, AFTER = (int(piece[0]) for piece in PIECES.values())
KNOWN = ULMRecPrompts(
    pieces=PIECES,
    numbers=(tokens(21), tokens(22)),
    letters=(tokens(31), tokens(32), tokens(33)),
    answers=tokens(41, 42, 43),
    offsets=np.asarray([0, 2, 3, 4]),
    ids=tokens(1, 2, 3, 4),
    n_words=50,
    codes=8,
    users=np.asarray([item_hash("ann"), item_hash("bob")], np.uint64),
    indices=np.asarray([[7, 0], [1, 2]], np.int32),
)


def test_a_prompt_is_put_together_from_its_pieces() -> None:
    prompt = KNOWN.prompt([0, 1], [2, 0], KNOWN.user_index("ann"))
    user = [USER, 50 + 7, 50 + 8 + 0, AFTER]
    history = [HISTORY, 21, 1, 2, 22, 3]
    assert prompt.tolist() == [OPENING, *user, *history, CANDIDATES, 31, 4, 32, 1, 2, CLOSING]
    assert prompt.dtype == np.int32


def test_without_an_index_its_part_is_left_out() -> None:
    assert KNOWN.prompt([1], [2], None).tolist() == [OPENING, HISTORY, 21, 3, CANDIDATES, 31, 4, CLOSING]


def test_an_empty_history_is_said_to_be_empty() -> None:
    assert KNOWN.prompt([], [2], None).tolist() == [OPENING, HISTORY, NOTHING, CANDIDATES, 31, 4, CLOSING]


def test_only_the_newest_of_a_history_are_read() -> None:
    assert KNOWN.prompt([2, 0, 1], [2], None).tolist() == KNOWN.prompt([0, 1], [2], None).tolist()


@pytest.mark.parametrize("n", [0, 4])
def test_candidates_are_as_many_as_there_are_letters_at_most(n: int) -> None:
    with pytest.raises(ValueError, match=f"{n} candidates; expected 1 to 3"):
        KNOWN.prompt([0], [0] * n, None)


def test_known_users_have_their_index_and_nobody_else_has_one() -> None:
    assert KNOWN.index_tokens(KNOWN.user_index("bob")).tolist() == [50 + 1, 50 + 8 + 2]
    assert KNOWN.user_index("eve") is None
    nobody = replace(KNOWN, users=np.empty(0, np.uint64), indices=np.empty((0, 2), np.int32))
    assert nobody.user_index("ann") is None


def test_sizes() -> None:
    assert (KNOWN.n_items, KNOWN.levels, KNOWN.vocabulary_size) == (3, 2, 50 + 16)
    assert (KNOWN.history_length, KNOWN.candidates) == (2, 3)
    longest = max(
        len(KNOWN.prompt(history, items, KNOWN.indices[0])) for history in ([], [0, 0]) for items in ([0], [0, 0, 0])
    )
    assert longest <= KNOWN.longest <= longest + 1  # the word for nothing is counted beside a full history


def test_prompts_come_back_from_their_file(tmp_path: Path) -> None:
    KNOWN.save(tmp_path)
    loaded = ULMRecPrompts.load(tmp_path)
    for history, candidates, user in product(([], [2, 1]), ([1], [0, 1, 2]), ("ann", "bob")):
        expected = KNOWN.prompt(history, candidates, KNOWN.user_index(user))
        assert loaded.prompt(history, candidates, loaded.user_index(user)).tolist() == expected.tolist()
    assert loaded.answers.tolist() == [41, 42, 43]
    assert loaded.vocabulary_size == KNOWN.vocabulary_size


@pytest.mark.parametrize(
    "change",
    [
        {"ids": None},
        {"piece/opening": None},
        {"offsets": np.asarray([0, 2, 3, 5])},
        {"offsets": np.asarray([0, 3, 2, 4])},
        {"ids": tokens(1, 2, 3, 50)},  # a code in a title
        {"answers": tokens(41, 42)},
        {"answers": tokens(41, 42, 41)},
        {"letter/000": tokens(-1)},
        {"indices": np.asarray([[8, 0], [1, 2]], np.int32)},
        {"indices": np.asarray([[7, 0]], np.int32)},
        {"indices": np.asarray([[7, 0], [7, 0]], np.int32)},
        {"sizes": np.asarray([50])},
    ],
)
def test_prompts_that_do_not_fit_together_are_refused(tmp_path: Path, change: Mapping[str, np.ndarray | None]) -> None:
    KNOWN.save(tmp_path)
    change_tensors(tmp_path / PROMPTS, change)
    with pytest.raises(BundleError, match=PROMPTS):
        ULMRecPrompts.load(tmp_path)


def test_prompts_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=PROMPTS):
        ULMRecPrompts.load(tmp_path)
