"""How users should be split."""

from pathlib import Path

import pytest

from models.contract.errors import ConfigError
from models.online.weights import configured_weights, parsed_weights

LAYERS = """
[[layers]]
name = "ranking"
[[layers.experiments]]
name = "fusion"
salt = "1"
[[layers.experiments.variants]]
name = "control"
weight = 30
[[layers.experiments.variants]]
name = "new"
weight = 70
"""


@pytest.mark.parametrize("text", [LAYERS, LAYERS.replace("layers.experiments", "experiments")])
def test_the_experiment_is_found_at_any_depth(tmp_path: Path, text: str) -> None:
    path = tmp_path / "experiments.toml"
    path.write_text(text)

    assert configured_weights(path, "fusion") == {"control": 30, "new": 70}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAYERS, "has no experiment 'other'; known: fusion"),
        (LAYERS.replace('"fusion"', '"other"').replace("weight = 70", ""), "needs a name and a weight"),
        (LAYERS.replace('"fusion"', '"other"').replace("= 70", "= 0"), "weights above 0"),
        (LAYERS.replace('"fusion"', '"other"').replace("= 70", "= nan"), "weights above 0"),
        (LAYERS.replace('"fusion"', '"other"').replace('"new"', '"control"'), "of different names"),
        ("[", "experiments.toml: "),
        ("", "known: none"),
    ],
)
def test_a_file_without_usable_weights_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "experiments.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=said):
        configured_weights(path, "other")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        configured_weights(tmp_path / "none.toml", "fusion")


def test_a_ratio_is_parsed() -> None:
    assert parsed_weights("a=1, b=2.5") == {"a": 1, "b": 2.5}


@pytest.mark.parametrize("text", ["", "a", "a=", "=1", "a=x", "a=1,a=2", "a=-1", "a=inf"])
def test_a_ratio_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--ratio"):
        parsed_weights(text)
