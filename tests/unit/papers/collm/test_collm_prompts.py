"""Prompts of any title, history and user."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.collm import colour_data, tiny_collm, write_reader

from models.contract.catalogue import Catalogue, Item
from models.contract.collm import CoLLMPrompts
from models.contract.errors import ConfigError
from models.data.labelled import LabelledPairs
from models.llm.backbone import Backbone, load_backbone
from models.papers.collm.config import CoLLMConfig
from models.papers.collm.prompts import Featured, PairPrompts, answer_token, clean, labelled_prompts, make_prompts
from models.types import Sequences


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(str(write_reader(tmp_path_factory.mktemp("reader"))))


@pytest.fixture(scope="module")
def config(backbone: Backbone) -> CoLLMConfig:
    return tiny_collm(Path(backbone.name))


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ('The "Best" of', "The 'Best' of"),
        ("two\nlines\tand\r\nmore", "two lines and more"),
        ("“typographic” «quotes»", "'typographic' 'quotes'"),
        ("bell\x07 and null\x00", "bell and null"),
        ("七人の侍", "七人の侍"),
        ("  Matrix, The (1999) ", "Matrix, The (1999)"),
    ],
)
def test_a_title_fits_between_quotation_marks(title: str, expected: str) -> None:
    assert clean(title) == expected


def test_an_item_without_a_title_is_called_something(backbone: Backbone, config: CoLLMConfig) -> None:
    items = [Item("a", "red lamp"), Item("b", None, brand="blue"), Item("fox", ""), Item("\n", "\n")]
    prompts = _prompts(items, backbone, config)
    words = [backbone.tokenizer.decode(prompts.title(item)) for item in range(4)]
    assert words[:3] == ['" red lamp "', '" blue "', '" fox "']
    assert all(np.diff(prompts.offsets) > 0)


def test_a_long_title_loses_its_end_and_keeps_its_quotation_mark(backbone: Backbone, config: CoLLMConfig) -> None:
    prompts = _prompts([Item("a", "red lamp " * 560), Item("b", "blue")], backbone, config)
    assert len("red lamp " * 560) > 5000
    quote = int(prompts.title(1)[0])
    title = prompts.title(0).tolist()
    assert len(title) == config.title_tokens + 2
    assert (title[0], title[-1]) == (quote, quote)


def test_an_empty_history_has_a_prompt(backbone: Backbone, config: CoLLMConfig) -> None:
    prompts = _prompts([Item("a", "red lamp"), Item("b", "blue fox")], backbone, config)
    found = prompts.prompts([], [0, 1], 0)
    assert [prompt.max() >= prompts.n_words for prompt in found] == [True, False]
    nothing = prompts.pieces["nothing"].tolist()
    opening = len(prompts.pieces["opening"])
    assert found[0][opening : opening + len(nothing)].tolist() == nothing


def test_prompts_survive_their_file(backbone: Backbone, config: CoLLMConfig, tmp_path: Path) -> None:
    prompts = labelled_prompts(backbone, colour_data(), config)
    prompts.save(tmp_path)
    read = CoLLMPrompts.load(tmp_path)
    for before, after in zip(prompts.prompts([1, 2], [3, 4], 1), read.prompts([1, 2], [3, 4], 1), strict=True):
        np.testing.assert_array_equal(before, after)
    assert read.user_row("u3") == 3
    assert read.user_row("u11") is None  # not among the training pairs


@pytest.mark.parametrize(("featured", "with_features"), [("nobody", set()), ("known", {0}), ("everyone", {0, 1})])
def test_whose_prompts_have_features(
    featured: Featured, with_features: set[int], backbone: Backbone, config: CoLLMConfig
) -> None:
    data = colour_data()
    prompts = labelled_prompts(backbone, data, config)
    pairs = LabelledPairs(np.asarray([0, 11, 0]), np.asarray([3, 3, 19], np.int32), np.zeros(3, np.int8), _none(3))
    found = PairPrompts(prompts, data, featured)(pairs, range(3))  # user 11 and item 19 are not in training
    assert {row for row, ids in enumerate(found) if ids.max() >= prompts.n_words} == with_features


def test_prompts_must_fit_into_the_context(backbone: Backbone, config: CoLLMConfig) -> None:
    with pytest.raises(ConfigError, match=r"collm\.history_length, collm\.title_tokens: prompts of up to \d+ tokens"):
        _prompts([Item("a", "red lamp")], backbone, replace(config, history_length=100))


def test_servers_count_a_token_behind_the_prompt(
    backbone: Backbone, config: CoLLMConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = _prompts([Item("a", "red lamp")], backbone, config).longest
    monkeypatch.setattr(backbone.model.config, "max_position_embeddings", longest)
    with pytest.raises(ConfigError, match=f"expected at most {longest - 1}"):
        _prompts([Item("a", "red lamp")], backbone, config)


def test_the_answer_is_one_token(backbone: Backbone) -> None:
    assert backbone.tokenizer.convert_ids_to_tokens(answer_token(backbone)) == "Yes"


def _none(n: int) -> Sequences:
    return Sequences.of([np.empty(0, np.int32)] * n)


def _prompts(items: list[Item], backbone: Backbone, config: CoLLMConfig) -> CoLLMPrompts:
    known = np.asarray([number == 0 for number in range(len(items))])
    return make_prompts(backbone, Catalogue(items), ["u0"], known, config)
