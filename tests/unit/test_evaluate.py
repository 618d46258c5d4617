"""The evaluation table."""

import json
import math
import re

import numpy as np
import pytest

from models.config import make
from models.contract.errors import ConfigError
from models.contract.types import Ints, item_numbers
from models.evaluate import EvaluateConfig, Row, as_json, as_text, evaluate_lists
from models.metrics import NO_ITEM, Interval

CONFIG = EvaluateConfig(cutoffs=(1, 3))


@pytest.fixture
def lists() -> Ints:
    """Served lists whose targets, 7 each, are at rank 1, 3, 4 and nowhere."""
    return np.asarray([[7, 1, 2, 3], [1, 2, 7, 3], [1, 2, 3, 7], [1, 2, 3, NO_ITEM]], np.int32)


def test_hr_and_ndcg_by_hand(lists: Ints) -> None:
    row = evaluate_lists("model", lists, item_numbers([7, 7, 7, 7]), CONFIG)

    assert list(row.metrics) == ["HR@1", "NDCG@1", "HR@3", "NDCG@3"]
    means = [interval.mean for interval in row.metrics.values()]
    assert means == pytest.approx([1 / 4, 1 / 4, 2 / 4, (1 + 1 / math.log2(4)) / 4])
    assert all(interval.low <= interval.mean <= interval.high for interval in row.metrics.values())


def test_the_seed_decides_the_intervals(lists: Ints) -> None:
    targets = item_numbers([7, 7, 7, 7])

    assert evaluate_lists("a", lists, targets, CONFIG) == evaluate_lists("a", lists, targets, CONFIG)


@pytest.mark.parametrize("cutoffs", ["0", "5,-1", "", "ten"])
def test_cutoffs_are_positive_numbers(cutoffs: str) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.cutoffs"):
        make(EvaluateConfig, {"cutoffs": cutoffs}, "evaluate")


class TestTable:
    ROWS = (
        Row("popularity", {"HR@5": Interval(0.1, 0.05, 0.15), "NDCG@5": Interval(0.0625, 0.03, 0.09)}),
        Row("local adapters, RRF", {"HR@5": Interval(1.0, 1.0, 1.0), "NDCG@5": Interval(0.5, 0.25, 0.75)}),
    )

    def test_text_has_a_line_a_model_and_its_columns_stand_below_their_names(self) -> None:
        header, *lines = as_text(self.ROWS).splitlines()

        assert lines[0] == "popularity           0.1000 [0.0500, 0.1500]  0.0625 [0.0300, 0.0900]"
        assert lines[1] == "local adapters, RRF  1.0000 [1.0000, 1.0000]  0.5000 [0.2500, 0.7500]"
        cells = list(re.finditer(r"\S+ \[.*?\]", lines[0]))
        for name, cell in zip(("HR@5", "NDCG@5"), cells, strict=True):
            middle = header.index(name) + len(name) / 2
            assert middle == pytest.approx((cell.start() + cell.end()) / 2, abs=1)

    def test_json_holds_the_same(self) -> None:
        document = json.loads(json.dumps(as_json(self.ROWS)))

        assert document[0] == {
            "model": "popularity",
            "HR@5": {"mean": 0.1, "low": 0.05, "high": 0.15},
            "NDCG@5": {"mean": 0.0625, "low": 0.03, "high": 0.09},
        }
        assert [row["model"] for row in document] == ["popularity", "local adapters, RRF"]

    def test_no_rows(self) -> None:
        assert (as_text([]), as_json([])) == ("", [])
