"""The benchmark runs, at a size that says nothing about speed."""

from localrec.bench.gateway import GatewayBenchOptions, run


def test_a_small_run_gives_every_metric(capsys):
    options = GatewayBenchOptions(n_items=100, n_users=20, communities=3, connections=2, seconds=0.2, rounds=2)
    record = run(options)
    metrics = record["metrics"]
    assert record["bench"] == "gateway"
    assert record.keys() == {"bench", "commit", "hardware", "metrics"}
    assert metrics["failures"] == 0
    assert metrics["cf_over_reference"] > 0
    assert metrics["local_degraded_share"] < 1
    assert metrics["local_slowest_call_p50_ms"] >= 10
    assert metrics["gateway_memory_mib"] < 400
    assert "cf_over_reference" in capsys.readouterr().out
