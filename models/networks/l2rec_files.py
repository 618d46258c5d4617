"""The files of L2Rec's experts: ``experts.json`` and ``experts.safetensors``."""

from pathlib import Path

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.contract.errors import BundleError, ConfigError
from models.contract.l2rec import EXPERTS_CONFIG, EXPERTS_WEIGHTS
from models.networks.l2rec import L2RecNetwork
from models.networks.l2rec_config import ExpertsConfig


def save_experts(network: L2RecNetwork, directory: Path) -> None:
    """Write what is trained of a network, and its settings; the directory is made.

    Args:
        network: of any type of numbers; float32 is written.
        directory: ``adapters/l2rec`` of a bundle's part.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, directory / EXPERTS_WEIGHTS)
    (directory / EXPERTS_CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(network.config)) + b"\n")


def read_experts_config(directory: Path) -> ExpertsConfig:
    """Read ``experts.json``. Raises BundleError where it is missing, malformed or impossible."""
    path = directory / EXPERTS_CONFIG
    try:
        return msgspec.json.decode(path.read_bytes(), type=ExpertsConfig)
    except (OSError, msgspec.MsgspecError, ConfigError) as exc:
        raise BundleError(f"{path}: {exc}") from exc


def load_experts(network: L2RecNetwork, directory: Path) -> None:
    """Fill a network that was built with the directory's settings.

    Raises:
        BundleError: ``experts.safetensors`` is missing or malformed, or its tensors are not those of the network, of
            the same shapes, of finite numbers.
    """
    path = directory / EXPERTS_WEIGHTS
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as exc:
        raise BundleError(f"{path}: {exc}") from exc
    expected = network.state_dict()
    if unknown := sorted(tensors.keys() ^ expected.keys()):
        raise BundleError(f"{path}: {unknown[0]} is {'missing' if unknown[0] in expected else 'not known'}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise BundleError(f"{path}: {name} is {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}")
        if not bool(tensor.isfinite().all()):
            raise BundleError(f"{path}: {name} holds other than finite numbers")
    network.load_state_dict(tensors)
