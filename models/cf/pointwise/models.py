"""The four collaborative models by name: made, saved and loaded.

A saved model is a directory with ``config.json`` (kind, n_users, n_items, and the kind's own settings) and
``model.safetensors`` (parameters, and LightGCN's graph as pairs).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.cf.pointwise.din import DIN, DINConfig
from models.cf.pointwise.lightgcn import LightGCN, LightGCNConfig
from models.cf.pointwise.mf import MF, MFConfig
from models.cf.pointwise.sasrec import SASRec, SASRecConfig
from models.cf.pointwise.types import CollaborativeModel
from models.cf.training import seeded
from models.config import make
from models.contract.errors import ConfigError, DataError
from models.data.labelled import LabelledData, LabelledPairs

Kind = Literal["mf", "lightgcn", "sasrec", "din"]
Config = MFConfig | LightGCNConfig | SASRecConfig | DINConfig

CONFIGS: Mapping[Kind, type[Config]] = {
    "mf": MFConfig,
    "lightgcn": LightGCNConfig,
    "sasrec": SASRecConfig,
    "din": DINConfig,
}
"""Each kind's settings; the defaults are what was found best for CoLLM's split of ML-1M, on its validation pairs."""

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class _Saved:
    """``config.json``."""

    kind: Kind
    n_users: int
    n_items: int
    config: dict[str, Any]


def make_config(kind: Kind, seed: int) -> Config:
    """A kind's default settings with a seed."""
    return replace(CONFIGS[kind](), seed=seed)


def make_model(config: Config, data: LabelledData) -> CollaborativeModel:
    """An untrained model, its parameters drawn from the configuration's seed."""
    with seeded(config.seed):
        return _build(config, data.n_users, data.n_items, _liked(data.train))


def save(model: CollaborativeModel, config: Config, data: LabelledData, directory: Path) -> None:
    """Write a model that was made with these settings for this data into a directory, which is made where missing."""
    kind = next(kind for kind, cls in CONFIGS.items() if isinstance(config, cls))
    directory.mkdir(parents=True, exist_ok=True)
    save_file({name: value.cpu().contiguous() for name, value in model.state_dict().items()}, directory / _WEIGHTS)
    document = msgspec.json.encode(_Saved(kind, data.n_users, data.n_items, asdict(config)))
    (directory / _CONFIG).write_bytes(msgspec.json.format(document) + b"\n")


def load(directory: Path) -> CollaborativeModel:
    """Read a saved model, on the CPU and in evaluation mode. Raises DataError where it is missing or malformed."""
    try:
        saved = msgspec.json.decode((directory / _CONFIG).read_bytes(), type=_Saved)
        config = make(CONFIGS[saved.kind], saved.config, saved.kind)
        tensors = load_file(directory / _WEIGHTS)
        model = _build(config, saved.n_users, saved.n_items, tensors.get("liked", torch.empty(2, 0, dtype=torch.int64)))
        model.load_state_dict(tensors)
    except (OSError, ValueError, RuntimeError, SafetensorError, ConfigError) as exc:
        raise DataError(f"{directory}: not a collaborative model: {exc}") from exc
    return model.eval()


def _build(config: Config, n_users: int, n_items: int, liked: Tensor) -> CollaborativeModel:
    match config:
        case MFConfig():
            return MF(n_users, n_items, config)
        case LightGCNConfig():
            return LightGCN(n_users, n_items, config, liked)
        case SASRecConfig():
            return SASRec(n_items, config)
        case DINConfig():
            return DIN(n_users, n_items, config)


def _liked(train: LabelledPairs) -> Tensor:
    """(2, n) int64 user rows and item numbers of the liked pairs."""
    liked = train.labels == 1
    return torch.from_numpy(np.stack([train.users[liked], train.items[liked].astype(np.int64)]))
