"""Prompts of the title form, and the one door for both forms."""

from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest
from safetensors.numpy import save_file
from support.bundles import make_bundle
from support.titles import as_title_bundle, random_titles

from models.contract.bundle import TITLE_TOKENS, Bundle
from models.contract.errors import BundleError
from models.contract.prompts import ItemPrompts, TitlePrompts, TitleTokens, above_words, load_prompts
from service.gateway.bundles.snapshot import load_snapshot
from service.workers.completion import Completion

TITLES = TitleTokens((9,), np.asarray([0, 2, 3, 6]), np.asarray([1, 0, 2, 3, 4, 5], np.int32), n_words=10)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path, n_items=60)


def test_a_prompt_is_the_start_and_the_titles_oldest_first() -> None:
    assert TITLES.prompt([2, 0, 1]).tolist() == [9, 3, 4, 5, 1, 0, 2]
    assert TITLES.prompt([]).tolist() == [9]
    assert TITLES.prompt([]).dtype == np.int32


def test_what_predicts_is_the_start_and_the_last_token_of_every_item() -> None:
    assert TITLES.ends([2, 0, 1]).tolist() == [0, 3, 5, 6]
    assert TITLES.ends(np.asarray([1], np.int32)).tolist() == [0, 1]
    assert TITLES.ends([]).tolist() == [0]


def test_only_the_newest_items_are_read_and_tokens_are_plain_numbers() -> None:
    prompts = TitlePrompts(TITLES, history_length=2)
    assert prompts.prompt(np.asarray([2, 0, 1], np.int32)) == [9, 1, 0, 2]
    assert {type(token) for token in prompts.prompt([1])} == {int}
    assert prompts.item_offset == 10


def test_title_tokens_come_back_from_their_file(tmp_path: Path) -> None:
    TITLES.save(tmp_path)
    loaded = TitleTokens.load(tmp_path)
    assert (loaded.start, loaded.n_words, loaded.n_items, loaded.longest) == ((9,), 10, 3, 3)
    assert loaded.prompt([0, 1, 2]).tolist() == TITLES.prompt([0, 1, 2]).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": np.asarray([0, 2, 3, 7])},
        {"offsets": np.asarray([0, 3, 3, 6])},  # an item without a token predicts nothing of its own
        {"ids": np.asarray([1, 0, 2, 3, 4, 10], np.int32)},
        {"start_and_n_words": np.asarray([10, 10])},
        {"start_and_n_words": np.asarray([10])},
        {"ids": None},
    ],
)
def test_title_tokens_that_do_not_fit_together_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray | None]
) -> None:
    tensors = {"offsets": TITLES.offsets, "ids": TITLES.ids, "start_and_n_words": np.asarray([9, 10])} | change
    save_file({name: value for name, value in tensors.items() if value is not None}, tmp_path / TITLE_TOKENS)
    with pytest.raises(BundleError, match=TITLE_TOKENS):
        TitleTokens.load(tmp_path)


def test_missing_title_tokens_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=TITLE_TOKENS):
        TitleTokens.load(tmp_path)


def test_the_manifest_says_which_prompts_are_built(bundle: Bundle) -> None:
    assert load_prompts(bundle) == ItemPrompts(60, bundle.manifest.model.history_length)
    titles = random_titles(60, n_words=40)
    prompts = load_prompts(as_title_bundle(bundle, titles))
    assert prompts.prompt([3, 5]) == titles.prompt([3, 5]).tolist()
    assert prompts.item_offset == 40


@pytest.mark.parametrize("titles", [random_titles(59, 40), random_titles(60, 40, longest=9)])
def test_title_tokens_of_another_bundle_are_refused(bundle: Bundle, titles: TitleTokens) -> None:
    other = as_title_bundle(bundle, titles)
    model = msgspec.structs.replace(other.manifest.model, item_tokens=4)
    with pytest.raises(BundleError, match="expected 60 of up to 4"):
        load_prompts(Bundle(other.directory, msgspec.structs.replace(other.manifest, model=model)))


def test_a_snapshot_has_the_prompts_of_its_form(bundle: Bundle) -> None:
    title = as_title_bundle(bundle, random_titles(60, n_words=40))
    assert load_snapshot(title.directory).prompts.item_offset == 40


def test_the_longest_prompt_and_one_token_fit_into_a_worker(bundle: Bundle) -> None:
    title = as_title_bundle(bundle, random_titles(60, n_words=40))
    history = [int(np.diff(random_titles(60, 40).offsets).argmax())] * 50
    assert title.local.max_tokens == len(load_prompts(title).prompt(history)) + 1


def test_only_items_above_the_words_are_answered() -> None:
    scores = np.asarray([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]], np.float32)
    assert above_words(scores).tolist() == [[-np.inf, -np.inf, 6.0], [-np.inf] * 3]


ASKED = Completion(prompt=[9, 1, 0], candidates=3, excluded=np.asarray([2], np.int32), n_items=5, item_offset=10)


def test_exclusions_travel_as_the_items_token_ids() -> None:
    assert orjson.loads(ASKED.body("b-c01"))["logit_bias"] == {"12": -100.0}  # no start token follows the items


def test_answers_are_item_numbers_and_words_are_dropped() -> None:
    logprobs = {"token_id:3": -0.1, "token_id:12": -0.2, "token_id:14": -0.5, "token_id:10": -0.4, "token_id:15": -0.3}
    body = orjson.dumps({"choices": [{"logprobs": {"top_logprobs": [logprobs]}}]})
    assert ASKED.read(body).items.tolist() == [0, 4]
