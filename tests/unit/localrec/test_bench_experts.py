"""``localrec bench experts`` on very little."""

import pytest
import torch
from torch.nn import functional as F

from localrec.bench.experts import ExpertsBenchOptions, gathered, run
from models.contract.errors import ConfigError
from models.networks.l2rec_config import ExpertsConfig
from models.networks.l2rec_experts import Experts

SMALL = ExpertsBenchOptions(layers=1, batch_size=2, tokens=8, item_tokens=4, rank=2, experts=3, rounds=2)


def test_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    record = run(SMALL)
    metrics = record["metrics"]

    assert record["bench"] == "experts"
    assert [target["measured"] for target in record["targets"]] == [
        metrics[f"{name}_{kind}_over_{other}"]
        for name, other in (("dpmoe", "lora"), ("network", "lora_network"))
        for kind in ("forward", "train")
    ]
    assert all(value > 0 for name, value in metrics.items() if not name.endswith("silent_experts"))
    assert 0.5 < metrics["semantic_token_entropy"] <= 1
    printed = capsys.readouterr().out
    assert "behavioural: 4 tokens" in printed
    assert "<= 1.5" in printed


def test_gathering_is_the_same_product() -> None:
    torch.manual_seed(0)
    config = ExpertsConfig(size=6, user_size=2, rank=2, experts=4)
    own = Experts(6, 5, config.rank, config.shared, {"semantic": config.experts})
    torch.nn.init.normal_(own.b)
    x, chosen = torch.randn(3, 6), torch.tensor([[0, 1], [3, 2], [1, 3]])
    weights = torch.zeros(3, 4).scatter(1, chosen, torch.rand(3, 2))
    columns = F.pad(weights, (0, 1), value=1.0).repeat_interleave(config.rank, dim=1)
    torch.testing.assert_close(
        gathered(own, x, chosen, weights, config), own(torch.zeros(3, 5), x, "semantic", columns), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (ExpertsBenchOptions(tokens=9, item_tokens=4), "tokens: 9; expected whole items of 4 tokens"),
        (ExpertsBenchOptions(experts=2, top_k=3), "top_k: 3"),
    ],
)
def test_impossible_options(options: ExpertsBenchOptions, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        run(options)
