"""The benchmark runs, at a size that says nothing about speed; and what it makes of its figures."""

import pytest

from localrec.bench.gateway import GatewayBenchOptions, run
from localrec.bench.gateway.rates import TRIED, highest_sustained, overload
from localrec.bench.gateway.targets import TARGETS
from localrec.bench.gateway.throughput import ratio
from localrec.bench.load import LoadResult

SMALL = GatewayBenchOptions(
    n_items=100,
    n_users=40,
    communities=4,
    voters=2,
    connections=2,
    open_connections=8,
    seconds=0.2,
    rounds=2,
    cached_users=5,
    worker_seconds=0.01,
    deadline_ms=80,
)


def test_a_small_run_gives_every_metric(capsys: pytest.CaptureFixture[str]):
    record = run(SMALL, {"partial_mean_over_full": 0.5})
    metrics = record["metrics"]
    assert record["bench"] == "gateway"
    assert record.keys() == {"bench", "commit", "hardware", "metrics", "targets"}
    assert metrics["failures"] == 0
    assert metrics["local_degraded_share"] < 1
    assert metrics["local_slowest_call_p50_ms"] >= 10
    assert metrics["gateway_memory_mib"] < 400
    assert metrics["partial_mean_over_full"] == 0.5
    assert metrics["slow_community_degraded_share"] > 0
    assert 0 < metrics["local_cpu_engine_ms"] < 100
    assert [target["measured"] for target in record["targets"]] == [metrics[target.metric] for target in TARGETS]
    assert all(target["reached"] is not None for target in record["targets"])
    assert "cf path, cache off" in capsys.readouterr().out


def seen(seconds: float = 1.0, latencies_ms: tuple[float, ...] = (10.0,) * 100, refused: int = 0) -> LoadResult:
    return LoadResult(seconds, latencies_ms, refused, 0)


def test_the_first_round_warms_up():
    assert ratio([seen(100.0), seen(0.5), seen(0.25)], [seen(), seen(), seen()]) == 3.0


@pytest.mark.parametrize(
    "beyond", [seen(refused=2), seen(latencies_ms=(10.0,) * 98 + (300.0,) * 2), seen(latencies_ms=(), refused=9)]
)
def test_a_rate_is_sustained_where_nearly_all_is_answered_in_time(beyond: LoadResult):
    assert highest_sustained(100.0, 200.0, lambda rate: beyond if rate > 85 else seen()) == pytest.approx(80.0)
    assert highest_sustained(100.0, 200.0, lambda rate: beyond) == TRIED[-1] * 100


def test_goodput_under_overload_is_set_against_the_capacity():
    metrics = overload(LoadResult(2.0, (50.0,) * 90 + (150.0,) * 10, refused=200, failures=0), 50.0, 100.0)
    assert metrics["overload_sent_per_second"] == 150
    assert metrics["overload_sent_over_capacity"] == 3
    assert metrics["overload_goodput_per_second"] == 45
    assert metrics["overload_goodput_over_capacity"] == pytest.approx(0.9)
    assert metrics["overload_refused_share"] == pytest.approx(2 / 3)
    assert metrics["overload_p99_over_deadline_ms"] == 50
