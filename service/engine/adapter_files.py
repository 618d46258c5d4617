"""Reading a PEFT LoRA adapter from disk, refusing whatever would be applied wrongly or not at all.

PEFT itself is not needed: the format is ``adapter_config.json`` and ``adapter_model.safetensors``.
"""

import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from service.engine.errors import AdapterError, NotFoundError
from service.engine.lora import AdapterStacks, AdapterWeights, LoraFactors, LoraTarget

T = TypeVar("T")
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

    def rank(self, module: str) -> int:
        """Rank of the factors of a module."""
        return _matching(self.rank_pattern or {}, module, self.r)

    def scale(self, module: str) -> float:
        """α / r, or α / √r (rsLoRA), of a module."""
        alpha, rank = _matching(self.alpha_pattern or {}, module, self.lora_alpha), self.rank(module)
        return alpha / (rank**0.5 if self.use_rslora else rank)

    def expressions(self) -> tuple[str, ...]:
        """Whatever is read as a regular expression."""
        targets = (self.target_modules,) if isinstance(self.target_modules, str) else ()
        return (*targets, *(self.rank_pattern or {}), *(self.alpha_pattern or {}))

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


@dataclass(frozen=True)
class LoraStore:
    """Adapters of a language model: a :class:`service.engine.types.AdapterStore`."""

    stacks: AdapterStacks

    files = (CONFIG, WEIGHTS)

    @property
    def size_bytes(self) -> int:
        """See there."""
        return self.stacks.size_bytes

    def prepare(self, slot: int, directory: Path) -> Callable[[], None]:
        """See there."""
        prepared = self.stacks.prepare(slot, read_adapter(directory, self.stacks.targets()))
        return partial(self.stacks.publish, prepared)


def resolve_adapter(path: str, root: Path, files: Sequence[str] = (CONFIG, WEIGHTS)) -> Path:
    """The adapter's directory.

    Raises AdapterError where the path is none, or it or one of the adapter's ``files`` is outside ``root`` (links
    followed), NotFoundError if it is absent.
    """
    try:
        directory = Path(path).resolve()
        _check_inside(directory, root, path)
        if not stat.S_ISDIR(directory.stat().st_mode):
            raise NotADirectoryError
        for name in files:
            _check_inside((directory / name).resolve(), root, f"{path}/{name}")
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFoundError(f"lora_path: no adapter at {path}", "lora_path") from exc
    except (OSError, ValueError, RuntimeError) as exc:  # too long, a NUL, links in a circle
        raise AdapterError(f"lora_path: {path!r} is no path: {exc}", "lora_path") from exc
    return directory


def _check_inside(path: Path, root: Path, given: str) -> None:
    if not path.is_relative_to(root.resolve()):
        raise AdapterError(f"lora_path: {given} is outside the adapter root", "lora_path")


def read_adapter(directory: Path, targets: Mapping[str, LoraTarget]) -> AdapterWeights:
    """The factors of an adapter, checked.

    Args:
        directory: holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        targets: what an adapter can change, by module name.

    Raises:
        AdapterError: a file is missing or malformed, an option is not supported, a rank is another, or the
            tensors are not those that the configuration promises for this base model.
    """
    config = _read_config(directory / CONFIG)
    touched = {module: target for module, target in targets.items() if config.targets(module)}
    for module, target in touched.items():
        _check_rank(directory / CONFIG, module, config.rank(module), target.rank)
    tensors = _read_tensors(directory / WEIGHTS)
    _check_names(directory, touched, tensors)
    for module, target in touched.items():
        _check_factors(directory, module, tensors, target)
    return {module: _factors(tensors, module, target, config.scale(module)) for module, target in touched.items()}


def _factors(tensors: Mapping[str, Tensor], module: str, target: LoraTarget, scale: float) -> LoraFactors:
    return LoraFactors(tensors[_key(module, target, "A")], tensors[_key(module, target, "B")] * scale)


def _key(module: str, target: LoraTarget, factor: str) -> str:
    kind = f"lora_embedding_{factor}" if target.is_embedding else f"lora_{factor}.weight"
    return f"base_model.model.{module}.{kind}"


def _matching(pattern: Mapping[str, T], module: str, otherwise: T) -> T:
    """The value of the first key that is, as a regular expression, the module's name or the end of it (PEFT's rule)."""
    return next((value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", module)), otherwise)


def _read_config(path: Path) -> AdapterConfig:
    try:
        config = msgspec.json.decode(path.read_bytes(), type=AdapterConfig)
    except OSError as exc:
        raise AdapterError(f"{path}: {exc.strerror}") from exc
    except msgspec.MsgspecError as exc:
        raise AdapterError(f"{path}: {exc}") from exc
    if config.peft_type != "LORA":
        raise AdapterError(f"{path}: peft_type is {config.peft_type}, expected LORA")
    neutral: dict[str, Any] = {"bias": "none", "use_dora": False, "fan_in_fan_out": False}
    for option in ("bias", "use_dora", "fan_in_fan_out", "modules_to_save"):
        value = getattr(config, option)
        if value and value != neutral.get(option):
            raise AdapterError(f"{path}: {option} is {value}, which is not supported")
    for expression in config.expressions():
        _check_expression(path, expression)
    return config


def _check_expression(path: Path, expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as exc:
        raise AdapterError(f"{path}: {expression!r} is no regular expression: {exc}") from exc


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as exc:
        raise AdapterError(f"{path}: not a readable safetensors file: {exc}") from exc


def _check_rank(path: Path, module: str, rank: int, served: int) -> None:
    if not served:
        raise AdapterError(f"{path}: target_modules name {module}, which this server's adapters leave alone")
    if rank != served:
        raise AdapterError(f"{path}: rank is {rank} at {module}, this server's adapters have rank {served} there")


def _check_names(directory: Path, touched: Mapping[str, LoraTarget], tensors: Mapping[str, Tensor]) -> None:
    expected = {_key(module, target, factor) for module, target in touched.items() for factor in "AB"}
    if not expected:
        raise AdapterError(f"{directory}: its target_modules match no layer of the base model")
    for problem, names in (("missing", expected - tensors.keys()), ("unknown here", tensors.keys() - expected)):
        if names:
            raise AdapterError(f"{directory}: made for another base model? tensors {problem}: {_some(names)}")


def _check_factors(directory: Path, module: str, tensors: Mapping[str, Tensor], target: LoraTarget) -> None:
    for factor, expected in (("A", (target.rank, target.n_in)), ("B", (target.n_out, target.rank))):
        tensor = tensors[_key(module, target, factor)]
        if tuple(tensor.shape) != expected:
            raise AdapterError(
                f"{directory}: lora_{factor} of {module} has shape {tuple(tensor.shape)}, expected {expected}"
            )
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise AdapterError(f"{directory}: lora_{factor} of {module} holds values that are no finite numbers")


def _some(names: set[str]) -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
