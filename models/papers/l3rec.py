"""L3Rec: Local Large Language Models for Recommendation (Jeon, Kim, Lee; CIKM 2025, doi 10.1145/3746252.3761280).

Divide (section 4.1, ``models.communities``), conquer (section 4.2, here), combine (section 4.3,
``models.contract.fusion``). Where this departs from the paper, for cost:

- The local model is the item-token form of a decoder-only backbone (``models.llm.item_token``), not POD on T5-small.
- A global adapter is trained first, and each community's adapter starts from it; the paper trains each from scratch.
  All communities share the item table, so their lists are over one vocabulary.
- Every position of a history is a training example, in one pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.config import option
from models.contract.errors import ConfigError
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.llm.backbone import load_backbone, top_model
from models.llm.device import training_device
from models.llm.item_token import CatalogueModel, ItemTokenModel, lora_config, save_adapter
from models.llm.items import fit_whitening, item_states, item_text
from models.llm.next_item import NextItemScorer, NextItemTask, WindowConfig
from models.llm.training import FitConfig, FitState, Report, fit
from models.metrics import mean_log_likelihood
from models.types import Examples

ITEM_VECTORS = "item_vectors.safetensors"
ITEM_TABLE = "item_table.safetensors"
CHECKPOINT = "checkpoint"
ADAPTER = "adapter"


@dataclass(frozen=True)
class L3RecConfig:
    """How the local models are built and trained. Defaults were chosen on ml-100k's validation items (docs/LOG.md)."""

    backbone: str = option("HuggingFaceTB/SmolLM2-135M", "Hub id, checkpoint directory or .gguf file.")
    trunk_layers: int = option(9, "Shallow layers, which read each item alone.", low=1)
    top_layers: int = option(3, "Layers after those, which read the history and carry the adapters.", low=1)
    title_tokens: int = option(48, "Tokens of an item's text that are read, at most.", low=1)
    text_size: int = option(128, "Directions of the item text that are kept, whitened.", low=1)
    embedding_size: int = option(128, "Width of the item table.", low=1)
    history_length: int = option(50, "Items of a history that are read, at most, the newest.", low=1)
    item_dropout: float = option(0.2, "Share of the item vectors' entries dropped in training.", low=0, high=0.9)
    lora_rank: int = option(16, "Rank of the adapters.", low=1)
    lora_alpha: float = option(32.0, "Scale of the adapters, over the rank.", low=0)
    lora_dropout: float = option(0.05, "Dropout before the adapters.", low=0, high=0.9)
    batch_size: int = option(32, "Windows in an update.", low=1)
    epochs: int = option(12, "Passes over the data for the global adapter, at most.", low=1)
    patience: int = option(4, "Epochs without a better validation log-likelihood after which training stops.", low=1)
    learning_rate: float = option(1e-3, "Step size for the global adapter.", low=0)
    item_learning_rate: float = option(3e-3, "Step size for the item table and its projections.", low=0)
    weight_decay: float = option(0.01, "Of the item table and its projections.", low=0)
    local_epochs: int = option(3, "Passes over a community's data for its adapter, at most.", low=1)
    local_patience: int = option(2, "As patience, for a community's adapter.", low=1)
    local_learning_rate: float = option(3e-4, "Step size for a community's adapter.", low=0)
    affinity_weighted: bool = option(True, "Weight each user's loss by the affinity to the community, as LOCA does.")
    seed: int = option(0, "Seed of initial weights, windows, order and dropout.", low=0)


def embed_items(config: L3RecConfig, dataset: Dataset, directory: Path) -> None:
    """Write the whitened text vectors (n_items, text_size), and the whitening for items to come."""
    backbone = load_backbone(config.backbone)
    texts = [item_text(item) for item in dataset.catalogue.items]
    states = item_states(backbone, texts, config.trunk_layers, config.title_tokens)
    whitening = fit_whitening(states, config.text_size)
    tensors = {"text": whitening(states), "mean": whitening.mean, "components": whitening.components}
    save_file({name: value.contiguous() for name, value in tensors.items()}, directory / ITEM_VECTORS)


def train_global(config: L3RecConfig, dataset: Dataset, items: Path, directory: Path, report: Report) -> FitState:
    """Train item table and global adapter; write the compiled checkpoint, the adapter, and the item table.

    Args:
        config: see :class:`L3RecConfig`.
        dataset: train part and validation examples are used.
        items: directory of :func:`embed_items`.
        directory: where everything is written.
        report: told one line an epoch.
    """
    text = load_file(items / ITEM_VECTORS)["text"]
    model = _new_model(config, text)
    device = training_device()
    model.to(device)
    items_group = {"params": model.item_parameters(), "lr": config.item_learning_rate}
    task = NextItemTask(
        model=model,
        groups=[
            {"params": model.adapter_parameters(), "lr": config.learning_rate, "weight_decay": 0.0},
            items_group | {"weight_decay": config.weight_decay},
        ],
        sequences=dataset.train,
        user_weights=np.ones(len(dataset.train), np.float32),
        config=WindowConfig(config.history_length, config.batch_size, config.seed),
        validate=_validation(model, config, dataset.examples("valid")),
    )
    state = fit(model, task, FitConfig(config.epochs, config.patience, config.seed), directory, report)
    model.cpu().compile_vocabulary()
    _save_global(model, directory)
    return state


def train_local(
    config: L3RecConfig, dataset: Dataset, affinity: Floats, global_model: Path, directory: Path, *, report: Report
) -> FitState:
    """Train one community's adapter from the global one (equation 3 on D_j: user-only assignment).

    Args:
        config: see :class:`L3RecConfig`.
        dataset: the train part and validation examples of the community's users are used.
        affinity: (n_users,) w_u^(j) of equation 2; users with 0 are not in the community.
        global_model: directory of :func:`train_global`.
        directory: the adapter is written to ``adapter`` in it.
        report: told one line an epoch.

    Raises:
        ConfigError: nobody belongs to the community.
    """
    members = np.flatnonzero(affinity > 0)
    if not len(members):
        raise ConfigError("communities.bandwidth: a community has no users; expected a larger bandwidth")
    torch.manual_seed(config.seed)
    device = training_device()
    model = CatalogueModel.load(
        global_model / CHECKPOINT, global_model / ADAPTER, dropout=config.item_dropout, trainable=True
    ).to(device)
    weights = affinity[members] if config.affinity_weighted else np.ones(len(members), np.float32)
    parameters = [p for p in model.parameters() if p.requires_grad]
    task = NextItemTask(
        model=model,
        groups=[{"params": parameters, "lr": config.local_learning_rate, "weight_decay": 0.0}],
        sequences=dataset.train.take(members),
        user_weights=weights.astype(np.float32),
        config=WindowConfig(config.history_length, config.batch_size, config.seed),
        validate=_validation(model, config, _of_users(dataset.examples("valid"), members)),
    )
    state = fit(model, task, FitConfig(config.local_epochs, config.local_patience, config.seed), directory, report)
    save_adapter(model.language_model, directory / ADAPTER)
    return state


def _new_model(config: L3RecConfig, text: Tensor) -> ItemTokenModel:
    torch.manual_seed(config.seed)
    last = config.trunk_layers + config.top_layers
    top = top_model(load_backbone(config.backbone), config.trunk_layers, last, vocab_size=len(text) + 1)
    lora = lora_config(config.lora_rank, config.lora_alpha, config.lora_dropout)
    return ItemTokenModel(top, text, config.embedding_size, config.item_dropout, lora)


def _validation(model: ItemTokenModel | CatalogueModel, config: L3RecConfig, examples: Examples) -> Callable[[], float]:
    scorer = NextItemScorer(model, config.history_length, training_device(), exact=False)
    return lambda: mean_log_likelihood(scorer, examples)


def _of_users(examples: Examples, users: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Examples:
    return examples.take(np.flatnonzero(np.isin(examples.users, users)))


def _save_global(model: ItemTokenModel, directory: Path) -> None:
    save_adapter(model.language_model, directory / ADAPTER)
    names = ("learned.weight", "text_projection.weight", "input_projection.weight", "output_projection.weight", "start")
    state = model.state_dict()
    save_file({name: state[name].contiguous() for name in names}, directory / ITEM_TABLE)
    base = model.language_model.unload()
    base.save_pretrained(str(directory / CHECKPOINT))
