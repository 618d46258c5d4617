"""What is measured of ranked lists."""

import json
import math

import numpy as np
import pytest
from support.evaluations import evaluation, held_out, lists

from models.config import make
from models.contract.errors import ConfigError
from models.evaluation.measure import EvaluateConfig, Row, as_json, measure

CONFIG = EvaluateConfig(cutoffs=(1, 3))


@pytest.fixture
def rows() -> dict[str, Row]:
    return {row.name: row for row in measure([lists()], held_out(), CONFIG, "popular")}


def test_metrics_by_hand(rows: dict[str, Row]) -> None:
    means = {name: interval.mean for name, interval in rows["good"].metrics.items()}

    first, second, third = 1.0, 1 / math.log2(3), 1 / 2
    assert means == pytest.approx(
        {
            "HR@1": 1 / 6,
            "Recall@1": 1 / 6,
            "NDCG@1": 1 / 6,
            "MRR@1": 1 / 6,
            "HR@3": 4 / 6,
            "Recall@3": 4 / 6,
            "NDCG@3": (first + third + 2 * second) / 6,
            "MRR@3": (1 + 1 / 3 + 2 * 1 / 2) / 6,
        }
    )
    assert all(i.low <= i.mean <= i.high for i in rows["good"].metrics.values())


def test_gains_are_paired_and_leave_the_baseline_out(rows: dict[str, Row]) -> None:
    assert rows["popular"].gains == {}
    gain = rows["good"].gains["HR@3"]
    assert gain.interval.mean == pytest.approx(4 / 6 - 2 / 6)
    same = measure([{"a": lists()["good"], "b": lists()["good"]}], held_out(), CONFIG, "b")[0].gains["HR@3"]
    assert (same.interval.low, same.interval.high, same.p_value) == (0.0, 0.0, 1.0)


def test_slices_add_up_to_the_whole(rows: dict[str, Row]) -> None:
    for group in ("history length", "target's training interactions"):
        parts = [part for part in rows["good"].slices if part.group == group]
        assert sum(part.n_examples for part in parts) == 6
        total = sum(part.n_examples * part.metrics["NDCG@3"].mean for part in parts)
        assert total / 6 == pytest.approx(rows["good"].metrics["NDCG@3"].mean)
    short = rows["good"].slices[0]
    assert (short.name, short.n_examples, short.metrics["HR@3"].mean) == ("0-4", 4, 2 / 4)


def test_catalogue_use_is_that_of_the_cutoff(rows: dict[str, Row]) -> None:
    assert rows["popular"].catalogue.coverage == pytest.approx(4 / 12)  # 1, 2, 3 and 7; 4 stands behind the cutoff
    assert rows["good"].catalogue.coverage == pytest.approx(6 / 12)


def test_the_seed_decides_the_intervals() -> None:
    first, again = (measure([lists()], held_out(), CONFIG, "popular") for _ in range(2))
    assert first == again


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(ConfigError, match="against: 'best'; expected one of popular, good"):
        measure([lists()], held_out(), CONFIG, "best")


@pytest.mark.parametrize("cutoffs", ["0", "5,-1", "", "ten"])
def test_cutoffs_are_positive_numbers(cutoffs: str) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.cutoffs"):
        make(EvaluateConfig, {"cutoffs": cutoffs}, "evaluate")


@pytest.mark.parametrize(("cutoffs", "cutoff", "length"), [((1, 5, 10, 20), 10, 20), ((5, 3), 5, 20), ((50,), 50, 50)])
def test_the_one_cutoff_is_ten_or_the_largest(cutoffs: tuple[int, ...], cutoff: int, length: int) -> None:
    config = EvaluateConfig(cutoffs=cutoffs)
    assert (config.cutoff, config.list_length) == (cutoff, length)


class TestJson:
    def test_holds_what_was_measured_and_how(self) -> None:
        document = json.loads(as_json(evaluation()))

        good = document["rows"][1]
        assert (document["dataset"], document["protocol"], document["against"]) == ("toys", "full", "popular")
        assert document["config"] == {"cutoffs": [1, 3], "seed": 0}
        assert document["provenance"]["commit"] == "abc1234"
        assert document["fusions"] == {"good": ["rrf, k = 10, cf 0.5"]}
        assert good["metrics"]["HR@3"]["mean"] == pytest.approx(4 / 6)
        assert set(good["gains"]["HR@3"]) == {"interval", "p_value"}
        assert good["slices"][0]["name"] == "0-4"
        assert good["catalogue"]["coverage"] == 0.5

    def test_what_is_no_number_is_null(self) -> None:
        nothing = held_out()
        nobody = type(nothing)(nothing.examples.take(np.empty(0, np.int64)), nothing.training_counts)
        rows = measure([{"a": lists()["good"][:0]}], nobody, CONFIG, "a")

        assert rows[0].slices == ()
        document = json.loads(as_json(type(evaluation())(**(vars(evaluation()) | {"rows": rows}))))
        assert document["rows"][0]["metrics"]["HR@1"]["mean"] is None
