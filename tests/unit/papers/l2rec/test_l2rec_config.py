from pathlib import Path
from typing import Any

import pytest
from support.backbones import LAYERS, write_backbone

from models.config import make
from models.contract.errors import ConfigError
from models.networks.l2rec_config import ExpertsConfig
from models.papers.l2rec.config import L2RecConfig, check_layers


def test_the_network_gets_the_settings_that_are_its_own() -> None:
    config = make(
        L2RecConfig,
        {"views": "semantic", "personal": False, "shared_experts": 2, "view_experts": 5, "top_k": 3, "lora_rank": 2}
        | {"lora_alpha": 3.0, "lora_targets": "q_proj, v_proj", "router_size": 7, "pooling": "mean"},
        "l2rec",
    )
    assert config.experts(size=64, user_size=9) == ExpertsConfig(
        64, 9, 2, 3.0, 2, 5, 3, ("q_proj", "v_proj"), 7, "mean", False, ("semantic",)
    )


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"views": ()}, "views"),
        ({"views": ("semantic", "semantic")}, "views"),
        ({"lora_targets": ()}, "lora_targets"),
        ({"top_k": 9}, "top_k"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=rf"^l2rec\.{field}: .*expected"):
        make(L2RecConfig, settings, "l2rec")


def test_more_layers_than_the_backbone_has_are_refused(tmp_path: Path) -> None:
    backbone = str(write_backbone(tmp_path))
    check_layers(L2RecConfig(backbone=backbone, layers=LAYERS))
    with pytest.raises(ConfigError, match=r"^l2rec\.layers: 5 is out of range"):
        check_layers(L2RecConfig(backbone=backbone, layers=LAYERS + 1))
