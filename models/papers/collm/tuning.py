"""CoLLM's two steps (section IV-B), and the choices that the paper compares them with (section V-C2).

Step 1 tunes the adapter on text alone (equation 4); step 2 keeps it and tunes the collaborative information encoding
(equation 5). Each step leaves ``TUNED`` in its directory: what it tuned, and nothing else.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.cf.pointwise.models import Config, load, make_config, make_model, save
from models.cf.pointwise.train import pairs_of, train_pointwise
from models.cf.pointwise.types import CollaborativeModel
from models.cf.training import Progress, silent
from models.contract.collm import CoLLMPrompts
from models.data.labelled import LabelledData, LabelledPairs
from models.evaluation.pointwise import auc
from models.llm.backbone import Backbone, load_backbone
from models.llm.training import FitConfig, FitState, fit, forget
from models.papers.collm.config import CoLLMConfig
from models.papers.collm.model import CoLLM, MappedFeatures, TokenFeatures, adapted
from models.papers.collm.prompts import Featured, PairPrompts, answer_token, labelled_prompts
from models.papers.collm.task import CoLLMTask, PromptedPairs, scores_of
from models.training.device import training_device
from models.types import Report

TUNED, STATE = "tuned.safetensors", "state.json"
SCALED_PAIRS = 2048  # training pairs from which the size of the vectors is read


@dataclass(frozen=True)
class Inputs:
    """What both steps need.

    Args:
        backbone: whole.
        data: labelled pairs.
        prompts: for its users and items.
        answer: the token whose logit is the prediction.
    """

    backbone: Backbone
    data: LabelledData
    prompts: CoLLMPrompts
    answer: int

    @classmethod
    def read(cls, config: CoLLMConfig, data: LabelledData) -> "Inputs":
        """Raises ConfigError where the backbone is not there or does not do."""
        backbone = load_backbone(config.backbone)
        return cls(backbone, data, labelled_prompts(backbone, data, config), answer_token(backbone))

    def prompted(self, pairs: LabelledPairs, model: CoLLM) -> PromptedPairs:
        """Pairs with the prompts that a model reads: with features, where it has any."""
        featured: Featured = "nobody" if model.features is None else "everyone" if model.cf_history else "known"
        prompts = PairPrompts(self.prompts, self.data, featured)
        return PromptedPairs(pairs, prompts, self.data.n_items, model.cf_history)


def cf_config(config: CoLLMConfig) -> Config:
    """Settings of the collaborative model."""
    chosen = make_config(config.cf, config.seed)
    return chosen if config.embedding_size is None else replace(chosen, embedding_size=config.embedding_size)


def pretrain(config: CoLLMConfig, data: LabelledData, directory: Path, progress: Progress = silent) -> float:
    """Train the collaborative model, unless the directory has it. Returns its validation AUC."""
    finished = directory / STATE
    if finished.exists():
        return float(json.loads(finished.read_text())["best"])
    settings = cf_config(config)
    model = make_model(settings, data)
    reached = train_pointwise(model, data, settings, progress)
    save(model, settings, data, directory)
    finished.write_text(json.dumps({"best": reached}) + "\n")
    return reached


def text_model(config: CoLLMConfig, inputs: Inputs, tuned: Path | None = None) -> CoLLM:
    """The model of step 1, which is TALLRec (the paper's "w/o CIE"): new, or as the step has left it in ``tuned``."""
    model = CoLLM(adapted(inputs.backbone, config), None, inputs.prompts, inputs.answer)
    return _restored(model, tuned).eval()


def feature_model(
    config: CoLLMConfig, inputs: Inputs, cf: Path | None, text: Path | None, tuned: Path | None = None
) -> CoLLM:
    """The model of step 2, whose parameters require a gradient where it tunes them.

    Args:
        config: its ``tuning`` says which.
        inputs: see :class:`Inputs`.
        cf: directory of :func:`pretrain`; T2 and UI-token read none.
        text: directory of step 1; T3 reads none.
        tuned: directory of step 2, where it is over.
    """
    language_model = text_model(config, inputs, None if config.tuning == "T3" else text).language_model
    if config.tuning != "T3":
        language_model.requires_grad_(False)
    torch.manual_seed(config.seed)
    features = _features(config, inputs, cf)
    return _restored(CoLLM(language_model, features, inputs.prompts, inputs.answer), tuned).eval()


def tune(config: CoLLMConfig, inputs: Inputs, model: CoLLM, directory: Path, report: Report) -> FitState:
    """Tune what of a model requires a gradient, unless the directory has the result; it ends as after its best epoch.

    Args:
        config: see :class:`CoLLMConfig`.
        inputs: pairs of train and valid are used.
        model: of :func:`text_model` or :func:`feature_model`.
        directory: where the result is written; an interrupted call goes on from what it has left there.
        report: told one line an epoch.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / TUNED).exists():
        forget(directory)
        _restored(model, directory)
        return FitState(**json.loads((directory / STATE).read_text()))
    device = training_device()
    model.to(device)
    valid = inputs.prompted(inputs.data.valid, model).sample(config.valid_pairs, config.seed)
    train = inputs.prompted(inputs.data.train, model)

    def validate() -> float:
        return auc(scores_of(model, valid, device), valid.pairs.labels)

    task = CoLLMTask(model, _groups(config, model), train, config, validate)
    state = fit(model, task, _schedule(config, model), directory, report, keep=True)
    _keep(model, state, directory)
    forget(directory)
    return state


def _schedule(config: CoLLMConfig, model: CoLLM) -> FitConfig:
    first = model.features is None or config.tuning == "T3"
    epochs = config.text_epochs if first else config.feature_epochs
    share = min(config.warmup_iterations / (epochs * config.iterations), 1.0)
    return FitConfig(epochs, config.patience, config.seed, warmup_share=share)


def _groups(config: CoLLMConfig, model: CoLLM) -> list[dict[str, Any]]:
    adapter = [p for p in model.language_model.parameters() if p.requires_grad]
    own = {id(p) for p in adapter}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    groups = ((adapter, config.learning_rate), (others, config.feature_learning_rate))
    return [{"params": each, "lr": rate, "weight_decay": config.weight_decay} for each, rate in groups if each]


def _features(config: CoLLMConfig, inputs: Inputs, cf: Path | None) -> nn.Module:
    data, hidden = inputs.data, inputs.backbone.hidden_size
    if config.tuning == "UI-token":
        std = float(inputs.backbone.model.get_input_embeddings().weight.std())
        return TokenFeatures(data.n_users, data.n_items, hidden, std)
    model = load(cf) if config.pretrained and cf is not None else make_model(cf_config(config), data)
    model.cpu().eval().requires_grad_(config.tuning in ("T1", "T2"))
    return MappedFeatures(model, _scales(model, data, config.seed), hidden, config.mapping_factor)


@torch.no_grad()
def _scales(cf: CollaborativeModel, data: LabelledData, seed: int) -> Tensor:
    """(2,) root mean square of the entries of users' and of items' vectors."""
    n = min(SCALED_PAIRS, len(data.train))
    rows = np.random.default_rng(seed).choice(len(data.train), n, replace=False)
    vectors = cf.represent(pairs_of(data.train, rows, data.n_items, cf.history_length))
    return torch.stack([v.square().mean().sqrt().clamp(min=1e-6) for v in vectors])


def _restored(model: CoLLM, directory: Path | None) -> CoLLM:
    if directory is not None:
        model.load_state_dict(load_file(directory / TUNED), strict=False)
    return model


def _keep(model: CoLLM, state: FitState, directory: Path) -> None:
    """The state first: that ``TUNED`` is there means that the step is over."""
    (directory / STATE).write_text(json.dumps(asdict(state)) + "\n")
    tensors = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    temporary = directory / f".{TUNED}.tmp"
    save_file(tensors, temporary)
    os.replace(temporary, directory / TUNED)
