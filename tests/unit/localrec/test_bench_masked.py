"""``localrec bench masked`` on very little."""

import pytest

from localrec.bench.masked import MaskedBenchOptions, run
from models.contract.errors import ConfigError

SMALL = MaskedBenchOptions(layers=3, intra_layers=1, cross_layers=1, batch_size=2, history_length=3, rounds=2)


def test_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    record = run(SMALL)
    metrics = record["metrics"]

    assert record["bench"] == "masked"
    assert [target["measured"] for target in record["targets"]] == [
        metrics[f"{name}_over_plain"] for name in ("train_fast", "serve_fast", "unskipped")
    ]
    assert metrics["moved_item_apart_paper"] > 1e-3  # items see the instruction, at another distance
    assert metrics["moved_item_apart_places_restarted"] < 1e-5
    assert metrics["moved_item_apart_without_instruction"] < 1e-4
    assert "<= 1.1" in capsys.readouterr().out


def test_more_masked_layers_than_there_are() -> None:
    with pytest.raises(ConfigError, match="2 intra-item and 2 cross-item layers of 3"):
        run(MaskedBenchOptions(layers=3))
