import pytest

from models.config import make
from models.contract.errors import ConfigError
from models.papers.hatllm.config import HatLLMConfig, masks
from models.papers.hatllm.study_config import unmasked


def test_shallow_layers_are_intra_and_deep_ones_cross() -> None:
    config = HatLLMConfig(intra_layers=2, cross_layers=1)
    assert masks(config, 5) == ("intra", "intra", "causal", "causal", "cross")


def test_layers_of_the_backbone_that_are_not_used_have_no_mask() -> None:
    assert masks(HatLLMConfig(layers=3, intra_layers=1, cross_layers=1), 30) == ("intra", "causal", "cross")


def test_an_order_moves_the_layers_of_a_kind_together() -> None:
    config = HatLLMConfig(intra_layers=2, cross_layers=1, order=("CR", "OR", "IN"))
    assert masks(config, 4) == ("cross", "causal", "intra", "intra")


def test_the_first_version_of_the_cross_item_mask() -> None:
    assert masks(HatLLMConfig(intra_layers=1, cross_layers=1, cross_mask="cross-pre"), 2) == ("intra", "cross-pre")


def test_without_masks_all_layers_are_causal() -> None:
    assert masks(unmasked(HatLLMConfig(order=("CR", "IN", "OR"))), 3) == ("causal",) * 3


def test_more_masked_layers_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"intra_layers, cross_layers: 3 [+] 2; expected at most 4"):
        masks(HatLLMConfig(intra_layers=3, cross_layers=2), 4)
    with pytest.raises(ConfigError, match="layers: 5 is out of range; expected at most 4"):
        masks(HatLLMConfig(layers=5), 4)


def test_an_order_names_each_kind_once() -> None:
    with pytest.raises(ConfigError, match=r"hatllm\.order: IN, IN, CR; expected IN, OR, CR"):
        make(HatLLMConfig, {"order": "IN,IN,CR"}, "hatllm")


def test_only_projections_are_adapted() -> None:
    with pytest.raises(ConfigError, match=r"hatllm\.lora_targets"):
        make(HatLLMConfig, {"lora_targets": "q_proj,lm_head"}, "hatllm")
