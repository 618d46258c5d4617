"""The local models in the item-token form: one vector an item (``models.llm.item_token``)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.contract.bundle import community_adapter
from models.contract.errors import ConfigError
from models.evaluation.metrics import mean_ndcg
from models.llm.backbone import load_backbone, top_model
from models.llm.item_token import CatalogueModel, ItemTokenModel, lora_config, save_adapter, save_whole_adapter
from models.llm.next_item import NextItemScorer, NextItemTask, WindowConfig
from models.llm.training import FitConfig, FitState, fit
from models.papers.l3rec.config import L3RecConfig
from models.papers.l3rec.files import ADAPTER, CHECKPOINT, ITEM_VECTORS
from models.papers.l3rec.training_set import TrainingSet
from models.training.device import training_device
from models.types import Examples, Report, by_history

SEEDS_APART = 1_000  # between the seeds of two communities, so that runs of neighbouring seeds share none


def train_global(config: L3RecConfig, data: TrainingSet, items: Path, directory: Path, report: Report) -> FitState:
    """Train item table and global adapter; write the compiled checkpoint and the adapter, one of which has the table.

    Args:
        config: see :class:`L3RecConfig`.
        data: see :class:`TrainingSet`.
        items: directory of :func:`embed_items`.
        directory: where everything is written.
        report: told one line an epoch.
    """
    model, state = _train_whole(config, data, items, directory, seed=config.seed, report=report)
    _save_model(model, directory, table_in_adapter=config.local_start == "scratch")
    return state


def train_local(
    config: L3RecConfig,
    data: TrainingSet,
    items: Path,
    global_model: Path,
    directory: Path,
    *,
    community: int,
    report: Report,
) -> FitState:
    """Train one community's adapter on its own data (equation 3).

    Args:
        config: see :class:`L3RecConfig`.
        data: of the community, see :meth:`TrainingSet.of_community`.
        items: directory of :func:`embed_items`.
        global_model: directory of :func:`train_global`.
        directory: the adapter is written to ``adapter`` in it.
        community: its number, which gives models that start from scratch their own random numbers.
        report: told one line an epoch.

    Raises:
        ConfigError: the community would start from scratch, and has no validation example to tell when it has learned.
    """
    if config.local_start == "scratch":
        _require_validation(data.valid, community)
        seed = config.seed + SEEDS_APART * (community + 1)
        model, state = _train_whole(config, data, items, directory, seed=seed, report=report)
        save_whole_adapter(model, directory / ADAPTER)
        return state
    torch.manual_seed(config.seed)
    device = training_device()
    catalogue_model = CatalogueModel.load(
        global_model / CHECKPOINT, global_model / ADAPTER, dropout=config.item_dropout, trainable=True
    ).to(device)
    parameters = [p for p in catalogue_model.parameters() if p.requires_grad]
    groups = [{"params": parameters, "lr": config.local_learning_rate, "weight_decay": 0.0}]
    task = _task(config, catalogue_model, groups, data, config.seed)
    fit_config = FitConfig(config.local_epochs, config.local_patience, config.seed)
    state = fit(catalogue_model, task, fit_config, directory, report)
    save_adapter(catalogue_model.language_model, directory / ADAPTER)
    return state


def _require_validation(valid: Examples, community: int) -> None:
    """No epoch is better than the one before without it: what would be kept, and vote, is the random model."""
    if not len(valid):
        raise ConfigError(
            f"community {community_adapter(community)}: none of its users has a validation example, which"
            " local.local_start 'scratch' needs; expected a larger communities.bandwidth or communities.min_users,"
            " fewer communities.n_communities, or local_start 'global'"
        )


def _train_whole(
    config: L3RecConfig, data: TrainingSet, items: Path, directory: Path, *, seed: int, report: Report
) -> tuple[ItemTokenModel, FitState]:
    """Item table and adapter, from random initial values."""
    torch.manual_seed(seed)
    model = _new_model(config, load_file(items / ITEM_VECTORS)["text"]).to(training_device())
    groups = [
        {"params": model.adapter_parameters(), "lr": config.learning_rate, "weight_decay": 0.0},
        {"params": model.item_parameters(), "lr": config.item_learning_rate, "weight_decay": config.weight_decay},
    ]
    task = _task(config, model, groups, data, seed)
    state = fit(model, task, FitConfig(config.epochs, config.patience, seed), directory, report)
    return model.cpu(), state


def _new_model(config: L3RecConfig, text: Tensor) -> ItemTokenModel:
    last = config.trunk_layers + config.top_layers
    top = top_model(load_backbone(config.backbone), config.trunk_layers, last, vocab_size=len(text) + 1)
    adapted = None if config.adapted_layers is None else range(config.unadapted_layers, config.top_layers)
    lora = lora_config(config.lora_rank, config.lora_alpha, config.lora_dropout, config.adapted, adapted)
    return ItemTokenModel(top, text, config.embedding_size, config.item_dropout, lora)


def _task(
    config: L3RecConfig,
    model: ItemTokenModel | CatalogueModel,
    groups: list[dict[str, Any]],
    data: TrainingSet,
    seed: int,
) -> NextItemTask:
    return NextItemTask(
        model=model,
        groups=groups,
        sequences=data.sequences,
        user_weights=data.user_weights,
        config=WindowConfig(config.history_length, config.batch_size, seed, data.ordered),
        validate=_validation(model, config, data.valid),
    )


def _validation(model: ItemTokenModel | CatalogueModel, config: L3RecConfig, valid: Examples) -> Callable[[], float]:
    scorer = NextItemScorer(model, config.history_length, training_device(), exact=False)
    seen = valid.sample(config.valid_examples, config.seed)
    return lambda: mean_ndcg(by_history(scorer), seen, n=None)


def _save_model(model: ItemTokenModel, directory: Path, *, table_in_adapter: bool) -> None:
    """Checkpoint and global adapter; the item table goes into the adapter where every adapter has its own."""
    if table_in_adapter:
        save_whole_adapter(model, directory / ADAPTER)
    else:
        model.compile_vocabulary()
        save_adapter(model.language_model, directory / ADAPTER)
    model.language_model.unload().save_pretrained(str(directory / CHECKPOINT))
