"""The document of a sweep, its tables and its pictures."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.metrics import Interval
from models.experiments.sweep import METRICS, Point, Sweep, as_markdown, load_points, measured, save_points, write

PROVENANCE = {"commit": "abc1234", "command": "localrec sweep fusion --run runs/toys"}


def point(axis: str, value: str, model: str, mean: float) -> Point:
    return Point(axis, value, model, dict.fromkeys(METRICS, Interval(mean, mean - 0.01, mean + 0.01)))


@pytest.fixture
def sweep() -> Sweep:
    """One axis of one value, one of numbers, one of words where a model is missing."""
    points = [
        point("fusion", "chosen", "RRF", 0.5),
        point("fusion", "chosen", "Count", 0.25),
        *(point("q", str(q), model, q / 10) for q in (1, 10) for model in ("RRF", "Count")),
        point("local.seed of, all", "a", "RRF", 0.5),
        point("local.seed of, all", "b", "Count", 0.5),
    ]
    return Sweep("toys", "valid", 40, PROVENANCE, tuple(points))


def test_metrics_by_hand() -> None:
    lists = np.asarray([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [7, 1, 2, 3, 4, 5, 6, 8, 9, 10]], np.int32)
    (found,) = measured("q", "3", {"RRF": lists}, np.asarray([7, 7], np.int32))

    assert (found.axis, found.value, found.model) == ("q", "3", "RRF")
    means = {name: interval.mean for name, interval in found.metrics.items()}
    assert means == pytest.approx({"HR@5": 0.5, "NDCG@5": 0.5, "HR@10": 1.0, "NDCG@10": (1 + 1 / math.log2(8)) / 2})


def test_points_are_kept(sweep: Sweep, tmp_path: Path) -> None:
    save_points(sweep.points, tmp_path)
    assert load_points(tmp_path) == list(sweep.points)


def test_of_one_value_all_metrics_of_more_a_table_each(sweep: Sweep) -> None:
    page = as_markdown(sweep)

    assert page.startswith("# toys: fusion, q, local.seed of, all\n\n- 40 validation items, full ranking")
    assert "```\nlocalrec sweep fusion --run runs/toys\n```" in page
    assert (
        "| model | HR@5 | NDCG@5 | HR@10 | NDCG@10 |\n| --- | --- | --- | --- | --- |\n| RRF | 0.5000 ± 0.0100" in page
    )
    assert "## NDCG@10 over q\n\n| q | RRF | Count |" in page
    assert "| 10 | 1.0000 ± 0.0100 | 1.0000 ± 0.0100 |" in page
    assert "| a | 0.5000 ± 0.0100 | – |" in page


def test_everything_is_written_beside_each_other(sweep: Sweep, tmp_path: Path) -> None:
    files = write(sweep, tmp_path / "new" / "toys.v1")

    names = sorted(str(file.relative_to(tmp_path / "new")) for file in files)
    pictures = [f"toys.v1/{axis}{suffix}" for axis in ("local.seedof,all", "q") for suffix in (".png", ".svg")]
    assert names == sorted(["toys.v1.json", "toys.v1.md", *pictures])
    document = json.loads((tmp_path / "new" / "toys.v1.json").read_text())
    assert document["points"][2] == {
        "axis": "q",
        "value": "1",
        "model": "RRF",
        "metrics": {metric: {"mean": 0.1, "low": 0.1 - 0.01, "high": 0.1 + 0.01} for metric in METRICS},
    }


def test_the_same_sweep_gives_the_same_pictures(sweep: Sweep, tmp_path: Path) -> None:
    for first, again in zip(write(sweep, tmp_path / "a"), write(sweep, tmp_path / "b"), strict=True):
        assert first.read_bytes() == again.read_bytes()
