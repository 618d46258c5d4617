"""Titles in HatLLM's prompts, whatever they hold."""

from pathlib import Path

import numpy as np
import pytest
from support.backbones import write_backbone
from support.families import FAMILIES, random_backbone
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from models.contract.catalogue import Item
from models.llm.backbone import Backbone, load_backbone
from models.papers.hatllm.prompts import Domain, hat_titles, layout_of, separator_token, with_placeholders

ALPHABET = sorted(ByteLevel.alphabet())
NEWLINE = "Ċ"  # as byte-level tokenizers spell it


def bytes_backbone(*merges: tuple[str, str], pieces: int = 1) -> Backbone:
    """A tokenizer of bytes and these merges, over a random model; a newline is ``pieces`` tokens."""
    vocabulary = {symbol: number for number, symbol in enumerate(ALPHABET)}
    vocabulary |= {a + b: len(ALPHABET) + number for number, (a, b) in enumerate(merges)}
    tokenizer = Tokenizer(BPE(vocabulary, list(merges)))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=pieces > 1, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    model = random_backbone(FAMILIES["llama"]())
    return Backbone("bytes", model.model, PreTrainedTokenizerFast(tokenizer_object=tokenizer))


@pytest.mark.parametrize(
    "title",
    [
        'The "Quoted" Lamp\'s \\ end',
        "a\nb\r\nc\u2028d\x00e\tf\x85g",
        "лампа ランプ 🪔 مصباح",
        "x" * 5_000,
        "\n" * 5_000,
        " ",
        "\n",
    ],
)
def test_no_title_holds_the_separator(title: str) -> None:
    backbone = bytes_backbone()
    titles = hat_titles(backbone, [Item("a", title), Item("b", "lamp")], max_tokens=12)
    layout = layout_of(titles, ("intra", "cross"))
    prompt = titles.prompt([0, 1, 0])
    places = np.flatnonzero(prompt == layout.separator)

    assert places.tolist() == titles.ends([0, 1, 0])[1:].tolist()
    assert titles.longest <= 12


def test_newlines_become_blanks() -> None:
    backbone = bytes_backbone()
    one, other = [Item("a", "red\n\tlamp ")], [Item("a", "red lamp")]

    assert hat_titles(backbone, one, 20).ids.tolist() == hat_titles(backbone, other, 20).ids.tolist()


def test_an_item_without_a_title_is_told_by_what_else_it_has() -> None:
    backbone = bytes_backbone()
    titles = hat_titles(backbone, [Item("item-7", None), Item("b", "", brand="Acme"), Item("c", "\n")], 20)

    assert backbone.tokenizer.decode(titles.prompt([0])[len(titles.start) :]) == "item-7\n"
    assert backbone.tokenizer.decode(titles.prompt([1])[len(titles.start) :]) == "Acme\n"
    assert backbone.tokenizer.decode(titles.prompt([2])[len(titles.start) :]) == "c\n"


def test_a_tokenizer_that_merges_newlines_with_their_neighbours() -> None:
    backbone = bytes_backbone((NEWLINE, "l"), ("p", NEWLINE), (NEWLINE, NEWLINE))
    titles = hat_titles(backbone, [Item("a", "lamp")], 20)

    assert titles.prompt([0, 0]).tolist().count(ALPHABET.index(NEWLINE)) == 2


def test_a_tokenizer_whose_newline_is_several_tokens() -> None:
    backbone = bytes_backbone(pieces=2)
    assert len(backbone.tokenizer("\n", add_special_tokens=False)["input_ids"]) == 2
    titles = hat_titles(backbone, [Item("a", "red lamp")], 20)

    assert titles.ids[-1] == separator_token(backbone.tokenizer) == ALPHABET.index(NEWLINE)
    assert titles.ids.tolist().count(titles.ids[-1]) == 1


def test_a_tokenizer_that_drops_newlines(tmp_path: Path) -> None:
    backbone = load_backbone(str(write_backbone(tmp_path)))
    titles = hat_titles(backbone, [Item("a", "red lamp"), Item("b", "blue")], 8)

    assert titles.prompt([0, 1])[len(titles.start) :].tolist() == [3, 5, 2, 4, 2]  # <eos> ends the items


def test_the_instruction_is_the_papers() -> None:
    backbone = bytes_backbone()
    titles = hat_titles(backbone, [Item("a", "Heat")], 8, Domain("movie", "movies", "watched"))

    assert backbone.tokenizer.decode(titles.prompt([0])) == (
        "Given a list of movies the user has watched before, please recommend a new movie that the user likes to the "
        "user. The user has watched the following movies before:Heat\n"
    )


def test_placeholders_stand_before_the_separators() -> None:
    titles = hat_titles(bytes_backbone(), [Item("a", "ab"), Item("b", ""), Item("c", "c")], 8)
    with_items = with_placeholders(titles)

    for item in range(3):
        own = titles.prompt([item]).tolist()
        assert with_items.prompt([item]).tolist() == [*own[:-1], titles.n_words + item, own[-1]]
