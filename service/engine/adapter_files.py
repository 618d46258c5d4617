"""Reading a PEFT LoRA adapter from disk, refusing whatever would be applied wrongly or not at all.

PEFT itself is not needed: the format is ``adapter_config.json`` and ``adapter_model.safetensors``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from service.engine.errors import AdapterError, NotFoundError
from service.engine.lora import AdapterWeights, LoraFactors

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


class AdapterConfig(msgspec.Struct, frozen=True):
    """What of ``adapter_config.json`` decides how the tensors are applied. Other keys do not."""

    peft_type: str
    r: int
    lora_alpha: float
    target_modules: list[str] | str
    bias: str = "none"
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    layers_to_transform: list[int] | int | None = None
    modules_to_save: list[str] | None = None
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None

    @property
    def scale(self) -> float:
        """α / r, or α / √r (rsLoRA)."""
        return self.lora_alpha / (self.r**0.5 if self.use_rslora else self.r)

    def targets(self, module: str) -> bool:
        """Whether the adapter changes this module of the base model."""
        if isinstance(self.target_modules, str):
            return re.fullmatch(self.target_modules, module) is not None and self._layer(module)
        return any(module == t or module.endswith(f".{t}") for t in self.target_modules) and self._layer(module)

    def _layer(self, module: str) -> bool:
        if self.layers_to_transform is None:
            return True
        layers = [self.layers_to_transform] if isinstance(self.layers_to_transform, int) else self.layers_to_transform
        number = re.search(r"\.(\d+)\.", module)
        return number is not None and int(number[1]) in layers


def resolve_adapter(path: str, root: Path) -> Path:
    """The adapter's directory. Raises AdapterError outside ``root`` (links followed), NotFoundError if absent."""
    directory = Path(path).resolve()
    if not directory.is_relative_to(root.resolve()):
        raise AdapterError(f"lora_path: {path} is outside the adapter root", "lora_path")
    if not directory.is_dir():
        raise NotFoundError(f"lora_path: no adapter at {path}", "lora_path")
    return directory


def read_adapter(directory: Path, shapes: Mapping[str, tuple[int, int]], rank: int) -> AdapterWeights:
    """The factors of an adapter, checked.

    Args:
        directory: holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        shapes: shape (n_out, n_in) of every layer that an adapter can change, by module name.
        rank: the rank of all adapters.

    Raises:
        AdapterError: a file is missing or malformed, an option is not supported, the rank is another, or the
            tensors are not those that the configuration promises for this base model.
    """
    config = _read_config(directory / CONFIG, rank)
    tensors = _read_tensors(directory / WEIGHTS)
    modules = [name for name in shapes if config.targets(name)]
    _check_names(directory, modules, tensors)
    for module in modules:
        _check_factors(directory, module, tensors, shapes[module], rank)
    return {m: LoraFactors(tensors[_key(m, "A")], tensors[_key(m, "B")] * config.scale) for m in modules}


def _key(module: str, factor: str) -> str:
    return f"base_model.model.{module}.lora_{factor}.weight"


def _read_config(path: Path, rank: int) -> AdapterConfig:
    try:
        config = msgspec.json.decode(path.read_bytes(), type=AdapterConfig)
    except OSError as exc:
        raise AdapterError(f"{path}: {exc.strerror}") from exc
    except msgspec.MsgspecError as exc:
        raise AdapterError(f"{path}: {exc}") from exc
    if config.peft_type != "LORA":
        raise AdapterError(f"{path}: peft_type is {config.peft_type}, expected LORA")
    if config.r != rank:
        raise AdapterError(f"{path}: rank is {config.r}, this server's adapters have rank {rank}")
    neutral: dict[str, Any] = {"bias": "none", "use_dora": False, "fan_in_fan_out": False}
    for option in ("bias", "use_dora", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern"):
        value = getattr(config, option)
        if value and value != neutral.get(option):
            raise AdapterError(f"{path}: {option} is {value}, which is not supported")
    return config


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as exc:
        raise AdapterError(f"{path}: not a readable safetensors file: {exc}") from exc


def _check_names(directory: Path, modules: list[str], tensors: Mapping[str, Tensor]) -> None:
    expected = {_key(module, factor) for module in modules for factor in "AB"}
    if not expected:
        raise AdapterError(f"{directory}: its target_modules match no layer of the base model")
    for problem, names in (("missing", expected - tensors.keys()), ("unknown here", tensors.keys() - expected)):
        if names:
            raise AdapterError(f"{directory}: made for another base model? tensors {problem}: {_some(names)}")


def _check_factors(
    directory: Path, module: str, tensors: Mapping[str, Tensor], shape: tuple[int, int], rank: int
) -> None:
    n_out, n_in = shape
    for factor, expected in (("A", (rank, n_in)), ("B", (n_out, rank))):
        tensor = tensors[_key(module, factor)]
        if tuple(tensor.shape) != expected:
            raise AdapterError(
                f"{directory}: lora_{factor} of {module} has shape {tuple(tensor.shape)}, expected {expected}"
            )
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise AdapterError(f"{directory}: lora_{factor} of {module} holds values that are no finite numbers")


def _some(names: set[str]) -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
