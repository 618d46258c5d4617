from math import inf, isnan

import numpy as np
import pytest

from localrec.bench.scrape import Histogram, between, parse
from models.contract.errors import LocalRecError

BOUNDS = (1.0, 2.0, 4.0, inf)
TEXT = """\
# TYPE t_seconds histogram
t_seconds_bucket{route="a",process="0",le="1.0"} 1
t_seconds_bucket{route="a",process="0",le="2.0"} 3
t_seconds_bucket{route="a",process="0",le="+Inf"} 4
t_seconds_bucket{route="a",process="1",le="1.0"} 0
t_seconds_bucket{route="a",process="1",le="2.0"} 1
t_seconds_bucket{route="a",process="1",le="+Inf"} 1
t_seconds_bucket{route="b",process="0",le="1.0"} 7
t_seconds_bucket{route="b",process="0",le="2.0"} 7
t_seconds_bucket{route="b",process="0",le="+Inf"} 7
# TYPE n counter
n_total{kind="x"} 2
n_total{kind="y"} 3
"""


def test_values_lie_in_the_bucket_whose_bound_they_do_not_exceed():
    assert Histogram.of(np.array([0.5, 1.0, 1.5, 4.0, 9.0]), BOUNDS).counts == (2, 1, 1, 1)


def test_a_percentile_is_interpolated_as_prometheus_does():
    found = Histogram(BOUNDS, (10, 10, 20, 0))
    assert found.percentile(25) == 1.0
    assert found.percentile(50) == 2.0
    assert found.percentile(75) == 3.0
    assert found.bucket(75) == (2.0, 4.0)


def test_the_percentile_of_many_values_is_that_of_their_buckets():
    values = np.random.default_rng(0).uniform(0.0, 10.0, 50_000)
    found = Histogram.of(values, [*np.linspace(0.1, 10.0, 100).tolist(), inf])
    for q in (1, 50, 99, 99.9):
        assert found.percentile(q) == pytest.approx(np.percentile(values, q), rel=0.02)


def test_beyond_the_last_bound_and_without_values():
    assert Histogram(BOUNDS, (0, 0, 0, 3)).percentile(99) == 4.0
    assert Histogram(BOUNDS, (0, 0, 0, 3)).bucket(99) == (4.0, inf)
    assert isnan(Histogram(BOUNDS, (0, 0, 0, 0)).percentile(99))
    assert all(isnan(bound) for bound in Histogram(BOUNDS, (0, 0, 0, 0)).bucket(99))


def test_labels_that_are_not_asked_for_are_summed():
    found = parse(TEXT)
    assert found.histograms("t_seconds", ["route"])[("a",)] == Histogram((1.0, 2.0, inf), (1, 3, 1))
    assert found.total("n_total") == 5.0
    assert found.total("n_total", kind="y") == 3.0
    assert found.has("n_total")
    assert not found.has("m_total")


def test_what_came_between_two_scrapes():
    before = parse(TEXT)
    after = parse(TEXT.replace('"0",le="+Inf"} 4', '"0",le="+Inf"} 6'))
    assert between(before, after, "t_seconds", ["route"]) == {("a",): Histogram((1.0, 2.0, inf), (0, 0, 2))}


def test_a_process_that_began_anew_has_all_of_its_own():
    assert Histogram(BOUNDS, (1, 0, 0, 0)).minus(Histogram(BOUNDS, (5, 0, 0, 0))).counts == (1, 0, 0, 0)


def test_what_is_no_metrics_is_named():
    with pytest.raises(LocalRecError, match="Prometheus"):
        parse("<html> not metrics")
    with pytest.raises(LocalRecError, match="bounds"):
        Histogram(BOUNDS, (1, 0, 0, 0)).plus(Histogram((1.0, inf), (1, 0)))
