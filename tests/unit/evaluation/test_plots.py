"""Pictures of an evaluation."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.evaluations import evaluation

from models.evaluation.plots import draw

PNG, SVG = b"\x89PNG\r\n\x1a\n", b"<?xml"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with pictures, which did not exist before."""
    directory = tmp_path_factory.mktemp("plots") / "new"
    draw(evaluation(), directory)
    return directory


def test_every_table_is_drawn_as_png_and_svg(drawn: Path) -> None:
    files = sorted(drawn.iterdir())
    assert [file.name for file in files] == [
        f"{name}{suffix}" for name in ("catalogue", "gains", "metrics", "slices") for suffix in (".png", ".svg")
    ]
    for file in files:
        assert file.read_bytes().startswith(PNG if file.suffix == ".png" else SVG)


def test_the_same_evaluation_gives_the_same_files(drawn: Path, tmp_path: Path) -> None:
    for file in draw(evaluation(), tmp_path):
        assert file.read_bytes() == (drawn / file.name).read_bytes()


def test_models_and_metrics_are_named(drawn: Path) -> None:
    for name in ("metrics", "slices", "catalogue"):
        text = (drawn / f"{name}.svg").read_text()
        assert all(f"<!-- {word} -->" in text for word in ("popular", "good", "NDCG@3"))


def test_gains_are_those_over_the_baseline(drawn: Path) -> None:
    text = (drawn / "gains.svg").read_text()
    assert "<!-- NDCG@3, gain over popular -->" in text
    assert "<!-- good -->" in text
    assert "<!-- popular -->" not in text


def test_matplotlib_is_not_loaded_before_something_is_drawn() -> None:
    code = "import sys, models.evaluation.plots; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
