"""Several seeds measured together."""

from dataclasses import replace
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest
from support.evaluations import evaluation, held_out, lists
from support.runs import pretend_prepared

from models.contract.errors import ConfigError
from models.evaluation.measure import EvaluateConfig, compared, measure
from models.evaluation.metrics import bootstrap, ndcg, ranks_in_lists
from models.evaluation.tables import as_markdown, seeds_table
from models.experiments.study import Study, with_seed
from models.run import RunConfig, save_run

CONFIG = EvaluateConfig(cutoffs=(1, 3))


def other_seed() -> dict[str, np.ndarray]:
    """The good model finds everything with this seed; the popular one is what it was."""
    return lists() | {"good": np.asarray([[7, 1, 2, 3]] * 6, np.int32)}


class TestMeasure:
    def test_a_metric_is_the_mean_over_seeds_with_an_interval_over_examples(self) -> None:
        row = measure([lists(), other_seed()], held_out(), CONFIG, "popular")[1]

        found = [ndcg(ranks_in_lists(run["good"], held_out().examples.targets), 3) for run in (lists(), other_seed())]
        expected = bootstrap(np.mean(found, axis=0), CONFIG.seed)
        interval = row.metrics["NDCG@3"]
        assert (interval.mean, interval.low, interval.high) == pytest.approx(
            (expected.mean, expected.low, expected.high)
        )
        assert row.by_seed["NDCG@3"] == pytest.approx([values.mean() for values in found])
        assert row.gains["HR@3"].interval.mean == pytest.approx((4 / 6 + 1) / 2 - 2 / 6)
        assert row.catalogue.coverage == pytest.approx((6 / 12 + 3 / 12) / 2)  # 7, 1, 2 stand in the first three places
        parts = [part for part in row.slices if part.group == "history length"]
        assert parts[0].metrics["HR@3"].mean == pytest.approx((2 / 4 + 1) / 2)

    def test_equal_runs_give_what_one_gives(self) -> None:
        one, three = (measure([lists()] * n_runs, held_out(), CONFIG, "popular") for n_runs in (1, 3))
        assert [replace(row, by_seed={}) for row in three] == list(one)
        assert one[0].by_seed == {}

    def test_compared_with_another_model_only_the_gains_change(self) -> None:
        runs = [lists(), other_seed()]
        first = replace(evaluation(), rows=measure(runs, held_out(), CONFIG, "popular"), against="popular")
        other = compared(first, runs, held_out(), "good")
        assert (other.against, other.rows) == ("good", measure(runs, held_out(), CONFIG, "good"))
        assert [row.gains for row in other.rows] != [row.gains for row in first.rows]
        with pytest.raises(ConfigError, match="against: 'nobody'"):
            compared(first, runs, held_out(), "nobody")

    def test_the_order_of_the_seeds_does_not_matter(self) -> None:
        runs = [lists(), other_seed(), lists()]
        first = measure(runs, held_out(), CONFIG, "popular")
        again = measure([runs[1], runs[0], runs[2]], held_out(), CONFIG, "popular")
        assert [row.metrics for row in first] == [row.metrics for row in again]


def test_the_table_of_seeds_shows_each_and_their_deviation() -> None:
    rows = measure([lists(), other_seed()], held_out(), CONFIG, "popular")
    table = seeds_table(replace(evaluation(), rows=rows, seeds=(3, 5)))

    assert table.header == ("model", "seed 3", "seed 5", "NDCG@3, deviation", "HR@3, deviation")
    first = rows[1].by_seed["NDCG@3"][0]
    assert table.rows[1] == ("good", f"{first:.4f}", "1.0000", f"{stdev([first, 1.0]):.4f}", f"{stdev([4 / 6, 1]):.4f}")
    page = as_markdown(replace(evaluation(), rows=rows, seeds=(3, 5)))
    assert "6 test items, full ranking of 12, mean over seeds 3, 5" in page
    assert "by seed" not in as_markdown(evaluation())


class TestSeeds:
    def test_every_section_that_has_a_seed_gets_it(self) -> None:
        seeded = with_seed(RunConfig("toys"), 7)

        assert (seeded.cf.seed, seeded.communities.seed, seeded.local.seed, seeded.sasrec.seed) == (7, 7, 7, 7)
        assert (seeded.gru4rec.seed, seeded.lightgcn.seed, seeded.mf_bpr.seed) == (7, 7, 7)
        assert (seeded.data, seeded.ease, seeded.serving) == (
            RunConfig("toys").data,
            *(RunConfig("toys").ease,),
            seeded.serving,
        )

    def test_a_directory_of_another_data_set_is_refused_before_any_work(self, tmp_path: Path) -> None:
        save_run(tmp_path / "seed-1", RunConfig("beauty"))
        pretend_prepared(tmp_path / "seed-1")
        with pytest.raises(ConfigError, match=r"name: 'toys', but .*seed-1 holds a run of 'beauty'; expected that, or"):
            Study(tmp_path, RunConfig("toys"), [0, 1], print)
