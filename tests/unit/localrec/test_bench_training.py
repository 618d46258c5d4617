"""``localrec bench train`` on very little."""

import pytest

from localrec.bench.training import TrainingBenchOptions, run
from models.contract.errors import ConfigError

SMALL = TrainingBenchOptions(
    trunk_layers=1, top_layers=1, n_items=8, title_words=4, n_windows=2, history_length=4, batch_size=2, rounds=2
)


def test_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    record = run(SMALL)
    metrics = record["metrics"]
    assert record["bench"] == "train"
    assert set(metrics) == {
        *(f"{name}_tokens_per_second" for name in ("text", "text_forward", "training", "training_forward")),
        "text_over_forward",
        "training_over_forward",
        "peak_memory_mib",
    }
    assert all(value > 0 for value in metrics.values())
    assert 0 < metrics["training_over_forward"] < 1  # a step is a forward and more
    assert "training_over_forward" in capsys.readouterr().out


def test_more_layers_than_there_are() -> None:
    with pytest.raises(ConfigError, match="layers 12 to 13"):
        run(TrainingBenchOptions(trunk_layers=12, top_layers=1))
