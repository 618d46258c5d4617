"""What training took, kept beside its result, and Table 5 of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.contract.errors import DataError
from models.evaluation.tables import section
from models.llm.training import FitState
from models.llm.training_cost import (
    TrainingCost,
    TrainingReport,
    costs_table,
    devices,
    load_cost,
    save_cost,
    training_report,
)

GLOBAL = TrainingCost(1000.0, 12, 24_000, 30_000, 5_000, 2**30, "cpu, threads: 2")
LOCAL = {
    "c00": replace(
        GLOBAL, seconds=850.0, epochs=3, examples=3_000, tokens=4_000, parameters=900, peak_memory_bytes=2**29
    ),
    "c01": replace(
        GLOBAL, seconds=250.0, epochs=2, examples=1_500, tokens=2_000, parameters=900, peak_memory_bytes=2**28
    ),
}


def write(directory: Path, cost: TrainingCost) -> None:
    directory.mkdir(parents=True)
    state = FitState(cost.epochs, 0.0, 1, cost.examples, cost.tokens, cost.seconds, cost.parameters)
    save_cost(state, directory)


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    """A run of two communities."""
    write(tmp_path / "global", GLOBAL)
    for name, cost in LOCAL.items():
        write(tmp_path / "local" / name, cost)
    return tmp_path


def test_a_cost_is_kept_with_memory_and_device(run_directory: Path) -> None:
    cost = load_cost(run_directory / "global")
    assert replace(cost, peak_memory_bytes=GLOBAL.peak_memory_bytes, device=GLOBAL.device) == GLOBAL
    assert 2**24 < cost.peak_memory_bytes < 2**40  # bytes, whatever the system counts in
    assert cost.device


def test_the_slowest_adapter_is_what_all_take_in_parallel(run_directory: Path) -> None:
    report = training_report(run_directory, ["c00", "c01"])
    assert (report.parallel_seconds, report.summed_seconds) == (850.0, 1100.0)
    document = json.loads(json.dumps(report.as_dict()))
    assert document["parallel_over_global"] == pytest.approx(0.85)
    assert document["summed_over_global"] == pytest.approx(1.1)
    assert document["global"]["epochs"] == 12
    assert (document["local"]["c01"]["examples"], document["local"]["c01"]["seconds"]) == (1_500, 250.0)


class TestTable:
    SLOW = TrainingReport(
        replace(GLOBAL, seconds=3000.0, peak_memory_bytes=2**31, device="gpu"),
        {name: replace(cost, seconds=cost.seconds * 2) for name, cost in LOCAL.items()},
    )

    def test_of_one_seed_has_a_line_for_every_adapter(self) -> None:
        table = costs_table({7: TrainingReport(GLOBAL, LOCAL)})

        assert section(table).splitlines()[2:] == [
            "| seed | training | time | of the global's | epochs | examples | tokens | trained parameters, each"
            " | peak memory, GiB |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            "| 7 | global adapter | 16 min 40 s | 100% | 12.0 | 24,000 | 30,000 | 5,000 | 1.00 |",
            "| 7 | c00 | 14 min 10 s | 85% | 3.0 | 3,000 | 4,000 | 900 | 0.50 |",
            "| 7 | c01 | 4 min 10 s | 25% | 2.0 | 1,500 | 2,000 | 900 | 0.25 |",
            "| 7 | 2 local adapters in parallel | 14 min 10 s | 85% | 2.5 | 4,500 | 6,000 | 900 | 0.50 |",
            "| 7 | 2 local adapters summed | 18 min 20 s | 110% | 2.5 | 4,500 | 6,000 | 900 | 0.50 |",
        ]

    def test_of_more_has_three_lines_a_seed_and_their_mean(self) -> None:
        table = costs_table({0: TrainingReport(GLOBAL, LOCAL), 1: self.SLOW})

        assert [row[0] for row in table.rows] == ["0"] * 3 + ["1"] * 3 + ["mean"] * 3
        assert table.rows[3][2:4] == ("50 min 00 s", "100%")
        parallel = (
            "mean",
            "2 local adapters in parallel",
            "21 min 15 s",
            "64%",
            "2.5",
            "4,500",
            "6,000",
            "900",
            "0.50",
        )
        assert table.rows[7] == parallel  # 1,275 of 2,000 seconds
        assert table.rows[6][-1] == "1.50"

    def test_what_it_ran_on_is_named_once_each(self) -> None:
        assert devices([TrainingReport(GLOBAL, LOCAL), self.SLOW]) == "cpu, threads: 2, gpu"


def test_an_adapter_that_is_not_trained_is_named(run_directory: Path) -> None:
    with pytest.raises(DataError, match=r"c02/cost\.json: is missing"):
        training_report(run_directory, ["c00", "c01", "c02"])


def test_a_cost_that_cannot_be_read_is_refused(run_directory: Path) -> None:
    (run_directory / "global" / "cost.json").write_text('{"seconds": "long"}')
    with pytest.raises(DataError, match=r"global/cost\.json: Expected `float`"):
        load_cost(run_directory / "global")
