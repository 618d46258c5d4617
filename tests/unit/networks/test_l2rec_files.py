"""Files of L2Rec's experts: what is written is read, and what does not fit is named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_l2rec import LAYOUT, decoder, network, prompts

from models.contract.errors import BundleError
from models.contract.l2rec import L2RecLayout
from models.networks.l2rec import L2RecNetwork
from models.networks.l2rec_files import load_experts, read_experts_config, save_experts


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_experts(network(), tmp_path / "experts")
    return tmp_path / "experts"


def loaded(directory: Path) -> L2RecNetwork:
    made = L2RecNetwork(decoder(), LAYOUT, read_experts_config(directory))
    load_experts(made, directory)
    return made


@torch.no_grad()
def test_what_is_written_is_read(saved: Path) -> None:
    made = loaded(saved)
    assert made.config == network().config
    assert torch.equal(made(*prompts()).fused, network()(*prompts()).fused)
    assert not any("embed" in name or "norm" in name for name in load_file(saved / "experts.safetensors"))


def test_a_layout_is_read_from_a_checkpoint() -> None:
    assert L2RecLayout.of_config(LAYOUT.as_config()) == LAYOUT
    with pytest.raises(BundleError, match=r"config.json, l2rec: .*separator"):
        L2RecLayout.of_config({"instruction_tokens": 2})
    with pytest.raises(BundleError, match="not negative"):
        L2RecLayout.of_config({"instruction_tokens": -1, "separator": 1})


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("rank", "two", r"experts.json: .*rank"),
        ("top_k", 9, r"experts.json: .*top_k: 9"),
        ("views", ["semantic", "sideways"], r"experts.json: .*sideways"),
        ("rank", 3, r"experts.safetensors: .* is \(14, .*expected \(21, "),
        ("views", ["semantic"], r"experts.safetensors: .* is not known"),
    ],
)
def test_settings_that_do_not_fit(saved: Path, key: str, value: object, complaint: str) -> None:
    file = saved / "experts.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(BundleError, match=complaint):
        loaded(saved)


def test_tensors_that_do_not_fit(saved: Path) -> None:
    file = saved / "experts.safetensors"
    tensors = load_file(file)
    name = "blocks.0.experts.q_proj.a"
    save_file(tensors | {name: torch.full_like(tensors[name], torch.nan)}, file)
    with pytest.raises(BundleError, match=f"{name} holds other than finite numbers"):
        loaded(saved)
    save_file({other: value for other, value in tensors.items() if other != name}, file)
    with pytest.raises(BundleError, match=f"{name} is missing"):
        loaded(saved)
    file.write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"experts\.safetensors"):
        loaded(saved)
    file.unlink()
    with pytest.raises(BundleError, match=r"experts\.safetensors"):
        loaded(saved)


def test_no_settings(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"experts\.json"):
        read_experts_config(tmp_path)
