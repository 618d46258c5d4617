"""CoLLM's prompts: pieces and titles in the paper's order."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.contract.collm import PROMPTS, TEXTS, CoLLMPrompts
from models.contract.errors import BundleError
from models.contract.redis_schema import item_hash

PIECES = {name: np.asarray([10 + number], np.int32) for number, name in enumerate(TEXTS)}
OPENING, NOTHING, COMMA, USER, QUESTION, ITEM, CLOSING = (int(PIECES[name][0]) for name in TEXTS)
USERS = ["u3", "u1", "u2"]
MADE = CoLLMPrompts(
    pieces=PIECES,
    offsets=np.asarray([0, 1, 3, 4]),
    ids=np.asarray([1, 2, 3, 4], np.int32),
    n_words=20,
    users=np.asarray([item_hash(user) for user in USERS], np.uint64),
    known_items=np.asarray([True, True, False]),
    history_length=2,
)


def test_full_prompts_have_both_features() -> None:
    prompts = MADE.prompts([2, 0, 1], [0, 1], user=1)

    beginning = [OPENING, 1, COMMA, 2, 3, USER, 21, QUESTION]
    assert [p.tolist() for p in prompts] == [
        [*beginning, 1, ITEM, 23, CLOSING],
        [*beginning, 2, 3, ITEM, 24, CLOSING],
    ]


def test_an_unknown_user_or_item_is_asked_about_by_text_alone() -> None:
    bare = [OPENING, NOTHING, QUESTION, 4, CLOSING]
    assert MADE.prompts([], [2], user=None)[0].tolist() == bare
    assert MADE.prompts([], [2], user=0)[0].tolist() == bare


def test_users_are_found_by_hash() -> None:
    assert [MADE.user_row(user) for user in (*USERS, "stranger")] == [0, 1, 2, None]


def test_no_prompt_is_longer_than_the_longest() -> None:
    assert max(len(p) for p in MADE.prompts([1, 1], [0, 1, 2], user=0)) == MADE.longest


def test_saved_prompts_are_read_back(tmp_path: Path) -> None:
    MADE.save(tmp_path)

    loaded = CoLLMPrompts.load(tmp_path)

    assert loaded.prompts([0], [1], 2)[0].tolist() == MADE.prompts([0], [1], 2)[0].tolist()
    assert loaded.vocabulary_size == 26


@pytest.mark.parametrize("name", ["offsets", "numbers", "piece/user"])
def test_malformed_prompts_are_refused(tmp_path: Path, name: str) -> None:
    MADE.save(tmp_path)
    tensors = load_file(tmp_path / PROMPTS)
    tensors[name] = tensors[name] + 100
    save_file(tensors, tmp_path / PROMPTS)
    if name == "numbers":
        tensors[name] = np.asarray([1], np.int64)
        save_file(tensors, tmp_path / PROMPTS)

    with pytest.raises(BundleError):
        CoLLMPrompts.load(tmp_path)
