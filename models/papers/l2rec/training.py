"""Training L2Rec: experts, routers, projector and fusion on a frozen backbone, end to end.

Left in the directory: ``experts.json`` and ``experts.safetensors`` (models.networks.l2rec_files),
``title_tokens.safetensors``, ``cf.safetensors`` (the collaborative model, whose users it knows), ``l2rec.json`` (layout
and validation quality); :mod:`models.papers.l2rec.export` reads them.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from models.contract.bundle import CF_MODEL
from models.contract.catalogue import Item
from models.contract.cf import CFModel
from models.contract.errors import BundleError, ConfigError
from models.contract.l2rec import L2RecLayout
from models.contract.prompts import TitlePrompts, TitleTokens
from models.contract.types import Floats
from models.llm.backbone import first_layers, load_backbone
from models.llm.items import item_text, one_line
from models.llm.training import FitConfig, FitState, fit, forget
from models.networks.l2rec import L2RecNetwork
from models.networks.l2rec_files import load_experts, read_experts_config, save_experts
from models.papers.hatllm.prompts import check_context, instructed_titles
from models.papers.l2rec.config import L2RecConfig, depth_of
from models.papers.l2rec.data import L2RecData
from models.papers.l2rec.scoring import L2RecScorer, Reader
from models.papers.l2rec.task import L2RecTask
from models.training.device import training_device
from models.types import Report, Sequences

DESCRIPTION = "l2rec.json"


class Trained(msgspec.Struct, frozen=True):
    """Contents of ``l2rec.json``: what was trained, on which models, and what validation said of it.

    ``decoder`` is a digest of the decoder's, which tells whether another training is on the same backbone. ``initial``
    is the training that this one began with.
    """

    backbone: str
    layers: int
    decoder: str
    history_length: int
    layout: dict[str, Any]
    initial: str
    valid_ndcg: float
    steps: int
    best_steps: int


@dataclass(frozen=True)
class L2RecModel:
    """A trained model, as it was trained, in mixed precision; see ``models.types.Scorer``.

    Args:
        scorer: ranks.
        state: of the training; an epoch of it is the updates between two looks at validation.
    """

    scorer: L2RecScorer
    state: FitState

    def scores(self, histories: Sequences) -> Floats:
        """See :meth:`models.papers.l2rec.scoring.L2RecScorer.scores`."""
        return self.scorer.scores(histories)


def train_l2rec(config: L2RecConfig, data: L2RecData, directory: Path, report: Report) -> FitState:
    """:func:`fit_l2rec`, of which only the files are kept, without those that an interrupted call needs."""
    state = _fit(config, data, directory, report)[1]
    forget(directory)
    return state


def fit_l2rec(config: L2RecConfig, data: L2RecData, directory: Path, report: Report) -> L2RecModel:
    """Train; an interrupted call goes on where it was. Another one only reads it, until ``forget`` is called.

    Args:
        config: see :class:`L2RecConfig`.
        data: see :class:`L2RecData`.
        directory: where everything is written.
        report: told one line at every look at validation.

    Raises:
        ConfigError: layers or prompts do not fit the backbone, or ``initial`` does not fit.
        DataError: there is nothing to train on.
        TrainingError: the loss is NaN or infinite.
    """
    reader, state = _fit(config, data, directory, report)
    return L2RecModel(L2RecScorer(reader, reader.item_rows(), data.cf), state)


def _fit(config: L2RecConfig, data: L2RecData, directory: Path, report: Report) -> tuple[Reader, FitState]:
    torch.manual_seed(config.seed)
    reader = new_reader(config, data.dataset.catalogue.items, data.cf.embedding_size)
    if config.initial:
        begin_with(reader.network, data.cf, Path(config.initial))
    task = L2RecTask(config, reader, data)
    looks = math.ceil(config.steps / config.evaluate_every)
    schedule = FitConfig(looks, config.patience, config.seed)
    state = fit(reader.network, task, schedule, directory, report, keep=True)
    _save(config, reader, state, data.cf, directory)
    return reader, state


def new_reader(config: L2RecConfig, items: Iterable[Item], user_size: int) -> Reader:
    """An untrained network, which answers what the frozen backbone does ("w/o Adapt" in Table 3), and its prompts.

    Args:
        config: see :class:`L2RecConfig`.
        items: the catalogue.
        user_size: numbers of a user's embedding.

    Raises:
        ConfigError: layers or prompts do not fit the backbone.
    """
    backbone = load_backbone(config.backbone)
    depth = depth_of(config, backbone.n_layers)
    titles = instructed_titles(backbone, [_text(item) for item in items], config.title_tokens, config.instruction)
    check_context(titles, config.history_length, backbone)
    decoder = first_layers(backbone, depth).model.to(training_device())
    network = L2RecNetwork(decoder, layout_of(titles), config.experts(backbone.hidden_size, user_size))
    return Reader(network.to(training_device()).eval(), TitlePrompts(titles, config.history_length))


def _text(item: Item) -> str:
    """An item as one line: title, brand and categories, whichever it has, else its id."""
    return one_line(item_text(item)) or one_line(item.item_id)


def layout_of(titles: TitleTokens) -> L2RecLayout:
    """How prompts of these items are read. The catalogue has an item at least."""
    return L2RecLayout(len(titles.start), int(titles.ids[-1]))


def read_description(directory: Path) -> Trained:
    """Read ``l2rec.json``. Raises BundleError where the training is not over, or there is none."""
    try:
        return msgspec.json.decode((directory / DESCRIPTION).read_bytes(), type=Trained)
    except (OSError, msgspec.MsgspecError) as exc:
        raise BundleError(f"{directory}: no L2Rec that is trained: {exc}") from exc


def check_initial(config: L2RecConfig) -> None:
    """Check that the earlier training that one begins with is there. Raises ConfigError where it is not."""
    if config.initial:
        try:
            read_description(Path(config.initial))
        except BundleError as exc:
            raise ConfigError(f"l2rec.initial: {exc}") from exc


def begin_with(network: L2RecNetwork, cf: CFModel, directory: Path) -> None:
    """Phase 2: fill a network with an earlier training's weights, which were learned on another data set, say.

    What routers know of users is worth something for users of the same collaborative model alone: of another one's it
    stays as it is.

    Args:
        network: untrained.
        cf: the model whose users it is told.
        directory: what :func:`train_l2rec` left.

    Raises:
        ConfigError: there is no such training, or one of another backbone or of other settings of the network.
    """
    untrained = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    try:
        described, config = read_description(directory), read_experts_config(directory)
        if described.decoder != decoder_digest(network.decoder):
            raise ConfigError(f"initial: {directory} was trained on {described.backbone}; expected the same backbone")
        if config != network.config:
            raise ConfigError(f"initial: {directory} is a network of {config}; expected {network.config}")
        load_experts(network, directory)
        known = CFModel.load(directory / CF_MODEL)
    except (BundleError, OSError) as exc:
        raise ConfigError(f"initial: {exc}") from exc
    if not _same_users(known, cf):
        network.load_state_dict(_of_users(untrained, network.state_dict(), network.config.user_size))


def _of_users(untrained: dict[str, Tensor], trained: dict[str, Tensor], user_size: int) -> dict[str, Tensor]:
    """The trained tensors, but for what reads a user's embedding."""
    merged = {name: tensor.clone() for name, tensor in trained.items()}
    for name, tensor in untrained.items():
        if name.endswith("user_in.weight"):
            merged[name] = tensor
        elif name.endswith("both_in.weight"):  # (router_size, hidden + user_size)
            merged[name][:, -user_size:] = tensor[:, -user_size:]
    return merged


def decoder_digest(decoder: Any) -> str:
    """Tells backbones apart by their first layer; how many layers are used is seen by the experts' names."""
    digest = hashlib.sha256()
    for _, tensor in sorted(decoder.layers[0].state_dict().items()):
        digest.update(tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _same_users(one: CFModel, other: CFModel) -> bool:
    """Whether both make the same embeddings of the same histories."""
    return np.array_equal(one.encoder_weight, other.encoder_weight) and np.array_equal(
        one.encoder_bias, other.encoder_bias
    )


def _save(config: L2RecConfig, reader: Reader, state: FitState, cf: CFModel, directory: Path) -> None:
    network, titles = reader.network, reader.prompts.titles
    save_experts(network, directory)
    titles.save(directory)
    cf.save(directory / CF_MODEL)
    steps = [min(looks * config.evaluate_every, config.steps) for looks in (state.epoch, state.best_epoch)]
    described = Trained(
        config.backbone,
        len(network.blocks),
        decoder_digest(network.decoder),
        config.history_length,
        layout_of(titles).as_config(),
        config.initial,
        state.best,
        *steps,
    )
    (directory / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(described)))
