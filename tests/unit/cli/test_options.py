"""Flags made from a configuration."""

from dataclasses import dataclass
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from localrec.options import config_flags, given
from models.config import make, option


@dataclass(frozen=True)
class Config:
    """One field of every kind."""

    batch_size: int = option(64, "Users in an update.", low=1)
    min_rating: float | None = option(None, "Least rating.")
    weighted: bool = option(True, "Weigh.")
    method: Literal["first", "last"] = option("first", "Method.")
    path: str = option("", "A path")
    regs: tuple[float, ...] = option((30.0, 0.5), "Penalties.")
    voters: tuple[Literal["cf", "global"], ...] = option(("cf", "global"), "Who votes")


@click.command()
@config_flags(Config)
def command(**flags: Any) -> None:
    """Shows what was given."""
    click.echo(repr(given(flags)))


def invoke(*arguments: str) -> str:
    answer = CliRunner().invoke(command, arguments)
    assert answer.exit_code == 0, answer.output
    return answer.output.strip()


def test_what_is_not_given_is_left_to_the_configuration() -> None:
    assert invoke() == "{}"


def test_false_and_empty_are_given() -> None:
    assert given({"weighted": False, "path": "", "n": 0, "absent": None}) == {"weighted": False, "path": "", "n": 0}


def test_one_flag_a_field_read_by_the_configuration() -> None:
    arguments = [
        "--batch-size=3",
        "--min-rating=4",
        "--weighted=no",
        "--method=last",
        "--path=p",
        "--regs=1, 2",
        "--voters=cf",
    ]
    seen: dict[str, Any] = {}

    @click.command()
    @config_flags(Config)
    def keep(**flags: Any) -> None:
        seen.update(flags)

    assert CliRunner().invoke(keep, arguments).exit_code == 0
    assert make(Config, given(seen), "cf") == Config(3, 4.0, False, "last", "p", (1.0, 2.0), ("cf",))


@pytest.mark.parametrize(
    "line",
    [
        "--batch-size TEXT Users in an update. Default: 64.",
        "--min-rating TEXT Least rating. Default: unset.",
        "--weighted BOOLEAN Weigh. Default: True.",
        "--method [first|last] Method. Default: first.",
        "--path TEXT A path. Default: unset.",
        "--regs TEXT Penalties. Default: 30,0.5.",
        "--voters TEXT Who votes. Default: cf,global.",
    ],
)
def test_help_has_the_sentence_and_the_default(line: str) -> None:
    assert line in " ".join(invoke("--help").split())


def test_flags_stand_in_the_order_of_the_fields() -> None:
    text = invoke("--help")

    places = [text.index(f"--{name}") for name in ("batch-size", "min-rating", "weighted", "method", "path", "regs")]
    assert places == sorted(places)


def test_a_choice_that_is_none_is_a_usage_error() -> None:
    answer = CliRunner().invoke(command, ["--method", "middle"])

    assert answer.exit_code == 2
    assert "'middle' is not one of 'first', 'last'" in answer.output
