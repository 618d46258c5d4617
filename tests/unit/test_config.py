"""Configurations from untyped values: what can be used is typed, what cannot be used is named."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from models.config import load, make, option
from models.contract.errors import ConfigError


@dataclass(frozen=True)
class Config:
    """One field of every kind."""

    epochs: int = option(3, "Passes", low=1, high=100)
    share: float = option(0.5, "Share", low=0.0)
    min_rating: float | None = option(None, "Rating")
    weighted: bool = option(True, "Weigh")
    method: Literal["first", "last"] = option("first", "Method")
    path: str = option("", "Path")
    cutoffs: tuple[int, ...] = option((5, 10), "Lengths", low=1)
    regs: tuple[float, ...] = option((30.0,), "Penalties")
    targets: tuple[str, ...] | None = option(None, "Modules")


def test_defaults() -> None:
    assert make(Config, {}, "cf") == Config()


def test_text_is_read_as_what_the_field_is() -> None:
    values = {
        "epochs": "7",
        "share": "1e-3",
        "min_rating": "4",
        "weighted": "false",
        "method": "last",
        "path": "a,b",
        "cutoffs": "1, 20",
        "regs": "0.5",
        "targets": "q, v",
    }

    assert make(Config, values, "cf") == Config(7, 1e-3, 4.0, False, "last", "a,b", (1, 20), (0.5,), ("q", "v"))


def test_typed_values_are_taken_as_they_are() -> None:
    made = make(Config, {"epochs": 7, "share": 1, "cutoffs": [1, 20], "min_rating": None}, "cf")

    assert made == Config(epochs=7, share=1.0, cutoffs=(1, 20))
    assert isinstance(made.share, float)


@pytest.mark.parametrize(("key", "value"), [("epochs", 1), ("epochs", 100), ("share", 0.0), ("cutoffs", (1,))])
def test_bounds_are_inclusive(key: str, value: Any) -> None:
    assert getattr(make(Config, {key: value}, "cf"), key) == value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", "0", "cf.epochs: 0 is out of range; expected at least 1 and at most 100"),
        ("epochs", 101, "cf.epochs: 101 is out of range; expected at least 1 and at most 100"),
        ("share", -0.1, "cf.share: -0.1 is out of range; expected at least 0.0"),
        ("share", "nan", "cf.share: nan is out of range; expected at least 0.0"),
        ("share", "inf", "cf.share: inf is out of range; expected at least 0.0"),
        ("min_rating", "-inf", "cf.min_rating: -inf is out of range; expected a finite number"),
        ("cutoffs", "5,0", "cf.cutoffs: 0 is out of range; expected at least 1"),
        ("regs", "1,nan", "cf.regs: nan is out of range; expected a finite number"),
        ("epochs", "1" + 400 * "0", "is out of range; expected at least 1 and at most 100"),
        ("epochs", "many", "cf.epochs: 'many': Expected `int`, got `str`"),
        ("epochs", 2.5, "cf.epochs: 2.5: Expected `int`, got `float`"),
        ("epochs", True, "cf.epochs: True: Expected `int`, got `bool`"),
        ("weighted", "perhaps", "cf.weighted: 'perhaps': Expected `bool`"),
        ("path", 3, "cf.path: 3: Expected `str`, got `int`"),
        ("cutoffs", "5,", "cf.cutoffs: '5,': Expected `int`, got `str` - at `$[1]`"),
        ("cutoffs", "", "cf.cutoffs: '': Expected `int`"),
        ("cutoffs", 5, "cf.cutoffs: 5: Expected `array`, got `int`"),
        ("method", "middle", "cf.method: 'middle': expected one of first, last"),
        ("method", 1, "cf.method: 1: expected one of first, last"),
        ("epoch", 3, "cf.epoch: unknown key; expected one of epochs, share"),
        ("", 3, "cf.: unknown key"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_is_expected(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make(Config, {key: value}, "cf")


@dataclass(frozen=True)
class Range:
    """A configuration whose values have to go together."""

    first: int = option(0, "First")
    last: int = option(9, "Last")

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ConfigError(f"first: {self.first}; expected at most last, {self.last}")


def test_values_that_do_not_go_together_are_named_with_their_section() -> None:
    assert make(Range, {"first": 9}, "cf") == Range(9)
    with pytest.raises(ConfigError, match=r"^cf\.first: 10; expected at most last, 9$"):
        make(Range, {"first": "10"}, "cf")


@pytest.mark.parametrize("values", [3, [1], "epochs", None])
def test_a_section_is_keys_and_values(values: Any) -> None:
    with pytest.raises(ConfigError, match=r"^cf: .*expected a section of keys and values"):
        make(Config, values, "cf")


@dataclass(frozen=True)
class Document:
    """A name and two sections."""

    name: str
    first: Config = field(default_factory=Config)
    second: Config = field(default_factory=Config)


def test_a_file_has_a_section_for_each_class_and_a_name(tmp_path: Path) -> None:
    path = tmp_path / "walks.toml"
    path.write_text("[second]\nepochs = 7\n")
    assert load(Document, path) == Document("walks", second=Config(epochs=7))
    path.write_text('name = "paths"\n')
    assert load(Document, path) == Document("paths")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[third]\n", "walks.toml: third: unknown section; expected name, first, second"),
        ("[first\n", "walks.toml: "),
        ("[first]\nepochs = 0\n", "first.epochs: 0 is out of range"),
        (None, "walks.toml: .*No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "walks.toml"
    if content:
        path.write_text(content)
    with pytest.raises(ConfigError, match=told):
        load(Document, path)
