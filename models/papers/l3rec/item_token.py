"""L3Rec: Local Large Language Models for Recommendation (Jeon, Kim, Lee; CIKM 2025, doi 10.1145/3746252.3761280).

Divide (section 4.1, ``models.communities``), conquer (section 4.2, here), combine (section 4.3,
``models.contract.fusion``). Where this departs from the paper, for cost:

- The local model is the item-token form of a decoder-only backbone (``models.llm.item_token``), not POD on T5-small.
- A global adapter is trained first. With ``local_start`` "global" each community's adapter starts from it and shares
  its item table: cheap, and measured to bring nothing where the global model is well trained (docs/LOG.md). With
  "scratch", as in the paper, each community has a model of its own, item table included, as part of its adapter.
- Every position of a history is a training example, in one pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.config import option
from models.contract.bundle import Form
from models.contract.errors import ConfigError
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.evaluation.metrics import mean_ndcg
from models.llm.backbone import layer_count, load_backbone, top_model
from models.llm.item_token import CatalogueModel, ItemTokenModel, lora_config, save_adapter, save_whole_adapter
from models.llm.items import check_encoder, fit_whitening, item_states, item_text, sentence_states
from models.llm.next_item import NextItemScorer, NextItemTask, WindowConfig
from models.llm.training import FitConfig, FitState, Report, fit
from models.training.device import training_device
from models.types import Examples, Sequences, by_history

ITEM_VECTORS = "item_vectors.safetensors"
ITEM_TABLE = "item_table.safetensors"
CHECKPOINT = "checkpoint"
ADAPTER = "adapter"
SEEDS_APART = 1_000  # between the seeds of two communities, so that runs of neighbouring seeds share none


@dataclass(frozen=True)
class L3RecConfig:
    """How the local models are built and trained. Defaults were chosen on ml-100k's validation items (docs/LOG.md)."""

    form: Form = option(
        "item-token",
        "How the model reads the history: one vector an item, or title: the items' titles as text (the paper's).",
    )
    backbone: str = option("HuggingFaceTB/SmolLM2-135M", "Hub id, checkpoint directory or .gguf file.")
    text_encoder: str = option(
        "",
        "Hub id or directory of a sentence encoder that reads the items' texts. Empty: the backbone's shallow layers.",
    )
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
    newest_windows: int = option(
        4, "Title form: windows of a user's history that are trained on, at most, the newest.", low=1
    )
    batch_size: int = option(32, "Windows in an update.", low=1)
    epochs: int = option(12, "Passes over the data for the global adapter, at most.", low=1)
    patience: int = option(4, "Epochs without a better validation NDCG (no cutoff) after which training stops.", low=1)
    valid_examples: int = option(5000, "Validation examples that are looked at after every epoch, at most.", low=1)
    learning_rate: float = option(1e-3, "Step size for the global adapter.", low=0)
    item_learning_rate: float = option(3e-3, "Step size for the item table and its projections.", low=0)
    weight_decay: float = option(0.01, "Of the item table and its projections.", low=0)
    local_start: Literal["global", "scratch"] = option(
        "global",
        "Start of a community's adapter: the global adapter, whose item table it shares and from which it moves little;"
        " or scratch, an adapter and an item table of its own, trained as the global one is (the paper's).",
    )
    local_epochs: int = option(3, "Passes over a community's data for its adapter, at most.", low=1)
    local_patience: int = option(2, "As patience, for a community's adapter.", low=1)
    local_learning_rate: float = option(3e-4, "Step size for a community's adapter.", low=0)
    affinity_weighted: bool = option(True, "Weight each user's loss by the affinity to the community, as LOCA does.")
    seed: int = option(0, "Seed of initial weights, windows, order and dropout.", low=0)


@dataclass(frozen=True)
class TrainingSet:
    """What one model is trained on.

    Args:
        sequences: of n users, oldest item first.
        user_weights: (n,) weight of each user's loss.
        valid: validation examples that decide when to stop.
        ordered: False where a history is a set (the top-n task): its items are shuffled in every epoch.
    """

    sequences: Sequences
    user_weights: Floats
    valid: Examples
    ordered: bool = True

    @classmethod
    def of_all(cls, dataset: Dataset, *, ordered: bool = True) -> Self:
        """All users, of equal weight: what the global model is trained on."""
        return cls(dataset.train, np.ones(len(dataset.train), np.float32), dataset.examples("valid"), ordered)

    @classmethod
    def of_community(
        cls,
        dataset: Dataset,
        affinity: Floats,
        item_affinity: Floats | None = None,
        *,
        weighted: bool = True,
        ordered: bool = True,
    ) -> Self:
        """D_j of equation 3: the community's users, and with user-and-item assignment only its items.

        Args:
            dataset: train part and validation examples are used.
            affinity: (n_users,) w_u^(j) of equation 2; users with 0 are not in the community.
            item_affinity: (n_items,), 0 outside V_j; None takes all items.
            weighted: weight users by affinity, as LOCA does; else equally.
            ordered: see the class.

        Raises:
            ConfigError: nobody belongs to the community.
        """
        members = np.flatnonzero(affinity > 0)
        if not len(members):
            raise ConfigError("communities.bandwidth: a community has no users; expected a larger bandwidth")
        weights = affinity[members] if weighted else np.ones(len(members), np.float32)
        valid = dataset.examples("valid")
        valid = valid.take(np.flatnonzero(np.isin(valid.users, members)))
        sequences = dataset.train.take(members)
        if item_affinity is not None:
            sequences = sequences.keep(item_affinity > 0)
            valid = valid.take(np.flatnonzero(item_affinity[valid.targets] > 0))
        return cls(sequences, weights.astype(np.float32), valid, ordered)


def check_backbone(config: L3RecConfig) -> None:
    """Check that the backbone is there and has the layers that are asked for, without reading its weights.

    Raises:
        ConfigError: it is not, or has fewer; or there is no such text encoder.
    """
    if config.text_encoder:
        check_encoder(config.text_encoder)
    wanted, present = config.trunk_layers + config.top_layers, layer_count(config.backbone)
    if wanted > present:
        raise ConfigError(
            f"local.trunk_layers, local.top_layers: {config.trunk_layers} + {config.top_layers} layers;"
            f" expected at most {present} in all, which is what backbone {config.backbone!r} has"
        )


def embed_items(config: L3RecConfig, dataset: Dataset, directory: Path) -> None:
    """Write the whitened text vectors (n_items, text_size), and the whitening for items to come."""
    texts = [item_text(item) for item in dataset.catalogue.items]
    if config.text_encoder:
        states = sentence_states(config.text_encoder, texts, config.title_tokens)
    else:
        states = item_states(load_backbone(config.backbone), texts, config.trunk_layers, config.title_tokens)
    whitening = fit_whitening(states, config.text_size)
    tensors = {"text": whitening(states), "mean": whitening.mean, "components": whitening.components}
    save_file({name: value.contiguous() for name, value in tensors.items()}, directory / ITEM_VECTORS)


def train_global(config: L3RecConfig, data: TrainingSet, items: Path, directory: Path, report: Report) -> FitState:
    """Train item table and global adapter; write the compiled checkpoint, the adapter, and the item table.

    Args:
        config: see :class:`L3RecConfig`.
        data: see :class:`TrainingSet`.
        items: directory of :func:`embed_items`.
        directory: where everything is written.
        report: told one line an epoch.
    """
    model, state = _train_whole(config, data, items, directory, seed=config.seed, report=report)
    tensors = model.state_dict()
    save_file({name: tensors[name].contiguous() for name in model.item_tensors}, directory / ITEM_TABLE)
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
    """
    if config.local_start == "scratch":
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
    lora = lora_config(config.lora_rank, config.lora_alpha, config.lora_dropout)
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
