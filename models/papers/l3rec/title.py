"""The local models in the title form, the paper's: the prompt is text (``models.llm.title``).

Stages: the item vectors of ``embed_items``, then :func:`cache_trunk`, :func:`train_global`, and one
:func:`train_local` a community.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import get_peft_model
from safetensors.torch import load_file

from models.contract.errors import ConfigError
from models.contract.prompts import TitleTokens, newest
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.evaluation.metrics import mean_ndcg
from models.llm.backbone import Backbone, load_backbone, trunk
from models.llm.item_token import save_adapter
from models.llm.title import (
    CachedTitleModel,
    FixedHead,
    ItemHead,
    compile_head,
    full_model,
    item_rows,
    load_adapted,
    title_lora,
    title_tokens,
)
from models.llm.title_task import CachedTask, CachedWindows, TitleWindows, cached_score
from models.llm.training import FitConfig, FitState, fit
from models.llm.trunk_cache import TokenPrompts, TrunkCache, fill
from models.papers.l3rec.config import L3RecConfig
from models.papers.l3rec.files import ADAPTER, CHECKPOINT, ITEM_VECTORS
from models.papers.l3rec.training_set import members_of
from models.training.device import training_device
from models.types import Examples, Report

TRAIN_CACHE, VALID_CACHE = "train", "valid"


def cache_trunk(config: L3RecConfig, dataset: Dataset, directory: Path, report: Report) -> None:
    """Write the title tokens, and the trunk's states of all training windows and validation histories.

    Args:
        config: see :class:`L3RecConfig`.
        dataset: train part and validation examples are read.
        directory: what an interrupted call has left in it is not computed again.
        report: told how far it is.

    Raises:
        ConfigError: a full history of the longest titles does not fit into the backbone's context.
    """
    backbone = load_backbone(config.backbone)
    titles = title_tokens(backbone, dataset.catalogue.items, config.title_tokens)
    _check_context(config, backbone, titles)
    titles.save(directory)
    shallow = trunk(backbone, config.trunk_layers).to(training_device())
    for name, prompts in _prompts(config, dataset, titles).items():
        (directory / name).mkdir(exist_ok=True)
        fill(directory / name, shallow, prompts, _source(config), _prefixed(name, report))


def train_global(
    config: L3RecConfig, dataset: Dataset, items: Path, cached: Path, directory: Path, report: Report
) -> FitState:
    """Train item table and global adapter; write the compiled checkpoint, title tokens and adapter.

    Args:
        config: see :class:`L3RecConfig`.
        dataset: train part and validation examples are used.
        items: directory of ``embed_items``.
        cached: directory of :func:`cache_trunk`.
        directory: where everything is written.
        report: told one line an epoch.
    """
    torch.manual_seed(config.seed)
    backbone, inputs = load_backbone(config.backbone), _Inputs.open(config, dataset, cached)
    depth = config.trunk_layers + config.top_layers
    rank, alpha, dropout = config.lora_rank, config.lora_alpha, config.lora_dropout
    first = config.trunk_layers + config.unadapted_layers
    lora = title_lora(first, depth, rank, alpha, dropout, config.adapted)
    language_model = get_peft_model(full_model(backbone, depth, inputs.train.titles), lora)
    head = ItemHead(load_file(items / ITEM_VECTORS)["text"], config.embedding_size, backbone.hidden_size)
    model = CachedTitleModel(language_model, config.trunk_layers, head, config.item_dropout)
    task = _task(
        config,
        model.to(training_device()).eval(),
        inputs,
        np.ones(len(dataset.train), np.float32),
        [
            {"params": model.adapter_parameters(), "lr": config.learning_rate, "weight_decay": 0.0},
            {"params": list(head.parameters()), "lr": config.item_learning_rate, "weight_decay": config.weight_decay},
        ],
    )
    state = fit(model, task, FitConfig(config.epochs, config.patience, config.seed), directory, report)
    _save_global(model.cpu(), head, inputs.train.titles, backbone, directory)
    return state


def train_local(
    config: L3RecConfig,
    dataset: Dataset,
    affinity: Floats,
    cached: Path,
    global_model: Path,
    directory: Path,
    *,
    report: Report,
) -> FitState:
    """Train one community's adapter from the global one (equation 3 on D_j: user-only assignment).

    Args:
        config: see :class:`L3RecConfig`.
        dataset: the train part and validation examples of the community's users are used.
        affinity: (n_users,) w_u^(j) of equation 2; users with 0 are not in the community.
        cached: directory of :func:`cache_trunk`.
        global_model: directory of :func:`train_global`.
        directory: the adapter is written to ``adapter`` in it.
        report: told one line an epoch.

    Raises:
        ConfigError: nobody belongs to the community.
    """
    members = members_of(affinity)
    torch.manual_seed(config.seed)
    inputs = _Inputs.open(config, dataset, cached).of_users(members)
    language_model = load_adapted(global_model / CHECKPOINT, global_model / ADAPTER, trainable=True)
    head = FixedHead(item_rows(language_model, inputs.train.titles))
    model = CachedTitleModel(language_model, config.trunk_layers, head, config.item_dropout)
    task = _task(
        config,
        model.to(training_device()).eval(),
        inputs,
        (affinity if config.affinity_weighted else members).astype(np.float32),
        [{"params": model.adapter_parameters(), "lr": config.local_learning_rate, "weight_decay": 0.0}],
    )
    state = fit(model, task, FitConfig(config.local_epochs, config.local_patience, config.seed), directory, report)
    save_adapter(language_model, directory / ADAPTER)
    return state


@dataclass(frozen=True)
class _Inputs:
    """What is trained and validated on. The validation examples' ``users`` are rows of ``valid_cache``."""

    train: CachedWindows
    valid: Examples
    valid_users: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    valid_cache: TrunkCache

    @classmethod
    def open(cls, config: L3RecConfig, dataset: Dataset, cached: Path) -> "_Inputs":
        titles = TitleTokens.load(cached)
        caches = {
            name: TrunkCache.open(cached / name, prompts, _source(config))
            for name, prompts in _prompts(config, dataset, titles).items()
        }
        valid = _valid_examples(config, dataset)
        return cls(
            train=CachedWindows(_windows(config, dataset), titles, caches[TRAIN_CACHE]),
            valid=Examples(np.arange(len(valid)), valid.histories, valid.targets),
            valid_users=valid.users,
            valid_cache=caches[VALID_CACHE],
        )

    def of_users(self, members: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> "_Inputs":
        """With some users' validation examples only; the task leaves the others' windows out by their weight."""
        rows = np.flatnonzero(members[self.valid_users])
        return _Inputs(self.train, self.valid.take(rows), self.valid_users[rows], self.valid_cache)


def _task(
    config: L3RecConfig, model: CachedTitleModel, inputs: _Inputs, user_weights: Floats, groups: list[dict[str, object]]
) -> CachedTask:
    return CachedTask(
        model=model,
        groups=groups,
        data=inputs.train,
        user_weights=user_weights,
        batch_size=config.batch_size,
        seed=config.seed,
        validate=_validation(model, inputs),
    )


def _validation(model: CachedTitleModel, inputs: _Inputs) -> Callable[[], float]:
    score = cached_score(model, inputs.valid_cache, training_device())
    return lambda: mean_ndcg(score, inputs.valid, n=None)


def _windows(config: L3RecConfig, dataset: Dataset) -> TitleWindows:
    return TitleWindows.cut(dataset.train, config.history_length, config.newest_windows)


def _valid_examples(config: L3RecConfig, dataset: Dataset) -> Examples:
    return dataset.examples("valid").sample(config.valid_examples, config.seed)


def _prompts(config: L3RecConfig, dataset: Dataset, titles: TitleTokens) -> dict[str, TokenPrompts]:
    histories = _valid_examples(config, dataset).histories
    valid = [titles.prompt(newest(histories[row], config.history_length)) for row in range(len(histories))]
    return {TRAIN_CACHE: _windows(config, dataset).prompts(titles), VALID_CACHE: TokenPrompts.of(valid)}


def _prefixed(name: str, report: Report) -> Report:
    return lambda line: report(f"{name}: {line}")


def _source(config: L3RecConfig) -> str:
    return f"{Path(config.backbone).name}, {config.trunk_layers} layers"


def _check_context(config: L3RecConfig, backbone: Backbone, titles: TitleTokens) -> None:
    wanted, context = config.history_length * titles.longest + 2, int(backbone.model.config.max_position_embeddings)
    if wanted > context:
        raise ConfigError(
            f"local.history_length: {config.history_length} items of up to {titles.longest} tokens make prompts of"
            f" {wanted}, the backbone reads {context}; expected fewer items or title_tokens"
        )


def _save_global(
    model: CachedTitleModel, head: ItemHead, titles: TitleTokens, backbone: Backbone, directory: Path
) -> None:
    compile_head(model.language_model, head.rows(), titles)
    titles.save(directory)
    save_adapter(model.language_model, directory / ADAPTER)
    model.language_model.unload().save_pretrained(str(directory / CHECKPOINT))
    backbone.tokenizer.save_pretrained(str(directory / CHECKPOINT))
