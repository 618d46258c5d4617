"""The benchmark runs, at a size that says nothing about speed."""

import pytest

from localrec.bench.communities import CommunitiesBenchOptions, run


def test_a_small_run_gives_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    options = CommunitiesBenchOptions(n_users=2_000, embedding_size=8, communities=4, candidates=100, bandwidth=0.5)
    first, second = run(options), run(options)
    metrics = first["metrics"]
    assert first["bench"] == "communities"
    assert first.keys() == {"bench", "commit", "hardware", "metrics"}
    assert metrics["users"] == 2_000
    assert metrics["discovery_over_reference"] == metrics["discovery_seconds"] / metrics["reference_seconds"] > 0
    assert metrics["peak_memory_mib"] > 10
    assert 0 < metrics["coverage"] <= 1
    assert metrics["coverage"] == second["metrics"]["coverage"]  # the seed decides
    assert "discovery_over_reference" in capsys.readouterr().out
