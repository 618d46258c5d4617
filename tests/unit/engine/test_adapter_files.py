"""Every adapter that would be applied wrongly is refused, and the message says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.checkpoints import projection_shapes, write_adapter, write_checkpoint
from support.engine import RANK
from torch import Tensor

from service.engine.adapter_files import CONFIG, WEIGHTS, read_adapter, resolve_adapter
from service.engine.errors import AdapterError, NotFoundError
from service.engine.lora import LoraTarget

pytestmark = pytest.mark.engine

Targets = dict[str, LoraTarget]
A_TENSOR = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"


@pytest.fixture
def adapter(root: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(root / "adapters" / "c00", tmp_path / "adapter"))


@pytest.fixture
def targets(root: Path) -> Targets:
    """What a server changes whose adapters leave the vocabulary alone."""
    shapes = projection_shapes(root / "checkpoint")
    layers = {module: LoraTarget(*shape, RANK) for module, shape in shapes.items()}
    return layers | {"model.embed_tokens": LoraTarget(64, 51, 0, is_embedding=True), "lm_head": LoraTarget(51, 64, 0)}


def change_config(adapter: Path, **changes: object) -> None:
    config = json.loads((adapter / CONFIG).read_text()) | changes
    (adapter / CONFIG).write_text(json.dumps(config))


def change_tensors(adapter: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(adapter / WEIGHTS)
    change(tensors)
    save_file(tensors, adapter / WEIGHTS)


def test_scale_is_folded_into_b(adapter: Path, targets: Targets) -> None:
    tensors = load_file(adapter / WEIGHTS)
    factors = read_adapter(adapter, targets)["model.layers.0.mlp.up_proj"]
    torch.testing.assert_close(factors.a, tensors[A_TENSOR])
    torch.testing.assert_close(factors.b, tensors[A_TENSOR.replace("lora_A", "lora_B")] * 2.0)  # α = 2 r


def test_rank_stabilised_scale(adapter: Path, targets: Targets) -> None:
    change_config(adapter, use_rslora=True)
    factors = read_adapter(adapter, targets)["model.layers.0.mlp.up_proj"]
    b = load_file(adapter / WEIGHTS)[A_TENSOR.replace("lora_A", "lora_B")]
    torch.testing.assert_close(factors.b, b * (2 * RANK / RANK**0.5))


def test_some_layers_only(adapter: Path, targets: Targets) -> None:
    change_config(adapter, layers_to_transform=[1])
    change_tensors(adapter, lambda tensors: [tensors.pop(name) for name in list(tensors) if ".layers.0." in name])
    modules = read_adapter(adapter, targets)
    assert modules
    assert all(".layers.1." in module for module in modules)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"r": 8}, "rank is 8"),
        ({"r": "four"}, r"Expected `int`.*\$\.r"),
        ({"peft_type": "IA3"}, "peft_type is IA3"),
        ({"bias": "all"}, "bias is all"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, r"rank is 2 at .*q_proj, this server's adapters have rank 4 there"),
        ({"rank_pattern": {"q_(": 2}}, r"'q_\(' is no regular expression"),
        ({"target_modules": "[*"}, "is no regular expression"),
        ({"target_modules": ["q_proj", "lm_head"]}, "name lm_head, which this server's adapters leave alone"),
        ({"target_modules": ["embed_tokens"]}, "name model.embed_tokens, which this server's adapters leave alone"),
        ({"target_modules": ["c_attn"]}, "match no layer"),
        ({"target_modules": ["q_proj"]}, "unknown here"),
        ({"layers_to_transform": [0]}, "unknown here"),
    ],
)
def test_configuration_refused(adapter: Path, targets: Targets, changes: dict[str, object], reason: str) -> None:
    change_config(adapter, **changes)
    with pytest.raises(AdapterError, match=reason):
        read_adapter(adapter, targets)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (None, "missing: base_model.model.model.layers.0.mlp.up_proj.lora_A"),
        (torch.zeros(RANK, 3), r"lora_A of model.layers.0.mlp.up_proj has shape \(4, 3\), expected \(4, 64\)"),
        (torch.full((RANK, 64), torch.nan), "no finite numbers"),
        (torch.ones(RANK, 64, dtype=torch.int32), "no finite numbers"),
    ],
)
def test_tensor_refused(adapter: Path, targets: Targets, tensor: Tensor | None, reason: str) -> None:
    change_tensors(adapter, lambda t: t.pop(A_TENSOR) if tensor is None else t.__setitem__(A_TENSOR, tensor))
    with pytest.raises(AdapterError, match=reason):
        read_adapter(adapter, targets)


@pytest.mark.parametrize(("layers", "hidden"), [(3, 64), (1, 64), (2, 128)])
def test_adapter_of_another_base_refused(tmp_path: Path, targets: Targets, layers: int, hidden: int) -> None:
    other = write_checkpoint(tmp_path / "other", 50, hidden, layers)
    adapter = write_adapter(tmp_path / "adapter", other, 1, RANK)
    with pytest.raises(AdapterError, match=r"another base model|has shape"):
        read_adapter(adapter, targets)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("content", [None, b"", b"\x80\x04pickle"])
def test_file_missing_or_garbage(adapter: Path, targets: Targets, name: str, content: bytes | None) -> None:
    (adapter / name).unlink() if content is None else (adapter / name).write_bytes(content)
    with pytest.raises(AdapterError, match=name):
        read_adapter(adapter, targets)


def test_path_must_lie_in_the_root(adapter: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(adapter)
    for path in (adapter, inside / ".." / "adapter", inside / "link", Path("adapter")):
        with pytest.raises(AdapterError, match="outside the adapter root"):
            resolve_adapter(str(path), inside)
    with pytest.raises(NotFoundError, match="no adapter at"):
        resolve_adapter(str(inside / "nothing"), inside)
    assert resolve_adapter(str(adapter), tmp_path) == adapter


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "a/" * 3000, "circle"])
def test_what_is_no_path_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(AdapterError, match="is no path"):
        resolve_adapter(f"{tmp_path}/{name}", tmp_path)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_file_that_links_out_of_the_root_is_refused(adapter: Path, tmp_path: Path, name: str) -> None:
    inside = tmp_path / "root" / "adapter"
    shutil.copytree(adapter, inside)
    (inside / name).unlink()
    (inside / name).symlink_to(adapter / name)
    with pytest.raises(AdapterError, match=f"{name} is outside the adapter root"):
        resolve_adapter(str(inside), inside.parent)
