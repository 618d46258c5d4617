"""Training HatLLM: the head and LoRA adapters of a masked backbone, end to end, with the paper's schedule.

Left in the directory: ``adapter/`` (PEFT), ``head.safetensors``, ``title_tokens.safetensors``, ``hatllm.json`` (layout
and validation quality); :func:`load_hatllm` puts the model together again.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from peft import set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from models.contract.catalogue import Catalogue
from models.contract.prompts import TitleTokens, newest
from models.contract.types import Floats, Ints
from models.evaluation.metrics import mean_ndcg
from models.llm.backbone import Backbone, load_backbone
from models.llm.item_token import ADAPTER_WEIGHTS, lora_config, save_adapter
from models.llm.items import fit_whitening, item_states, item_text, sentence_states
from models.llm.next_item import next_item_loss
from models.llm.title import FixedHead, ItemHead
from models.llm.training import IGNORED, TARGETS, Batch, FitConfig, FitState, fit, forget
from models.papers.hatllm.config import HatLLMConfig, masks
from models.papers.hatllm.data import WindowedData, cut, owners
from models.papers.hatllm.model import HatModel
from models.papers.hatllm.prompts import Domain, check_context, hat_titles, layout_of, with_placeholders
from models.papers.hatllm.scoring import SCORING_BATCH, last_tokens
from models.training.batching import of_like_lengths, shortest_first
from models.training.device import mixed_precision, training_device
from models.types import Examples, Report, Score, Sequences

TABLE, PROJECTION = "table", "projection"  # in the head's file: (n_items, d) and (d, hidden); their product is the rows
ADAPTER, HEAD, DESCRIPTION = "adapter", "head.safetensors", "hatllm.json"


class Trained(msgspec.Struct, frozen=True):
    """Contents of ``hatllm.json``: what was trained, and what validation said of it."""

    backbone: str
    history_length: int
    layout: dict[str, Any]
    valid_ndcg: float
    steps: int
    best_steps: int


@dataclass(frozen=True)
class Prepared:
    """What trainings of several configurations share: the backbone, and (n_items, k) whitened text vectors."""

    backbone: Backbone
    text: Tensor

    @classmethod
    def of(cls, config: HatLLMConfig, catalogue: Catalogue) -> Self:
        """Load and make what a configuration asks for."""
        return cls(load_backbone(config.backbone), text_vectors(config, catalogue))


def train_hatllm(config: HatLLMConfig, data: WindowedData, directory: Path, report: Report) -> FitState:
    """Train head and adapters; an interrupted call goes on where it was.

    Args:
        config: see :class:`HatLLMConfig`.
        data: train part and validation examples are used.
        directory: where everything is written.
        report: told one line at every look at validation.

    Returns:
        The state; an epoch of it is the updates between two looks at validation.

    Raises:
        ConfigError: layers or prompts do not fit the backbone.
        TrainingError: the loss is NaN or infinite.
    """
    state = fit_hatllm(config, data, directory, report, Prepared.of(config, data.catalogue))[1]
    forget(directory)
    return state


def fit_hatllm(
    config: HatLLMConfig,
    data: WindowedData,
    directory: Path,
    report: Report,
    prepared: Prepared,
    item_vectors: Floats | None = None,
) -> tuple[HatModel, FitState]:
    """:func:`train_hatllm`, whose model is kept. Another call only reads it, until :func:`forget` is called.

    Args:
        config, data, directory, report: see there.
        prepared: of this backbone and catalogue.
        item_vectors: (n_items, d) of a collaborative model, put into the prompts (LLaRA); None: titles alone.

    Returns:
        The model, on the device that it was trained on, and the state.
    """
    torch.manual_seed(config.seed)
    model = new_model(config, prepared, data.catalogue, item_vectors)
    task = WindowTask(config, model.to(training_device()).eval(), data)
    looks = math.ceil(config.steps / config.evaluate_every)
    state = fit(model, task, FitConfig(looks, config.patience, config.seed), directory, report, keep=True)
    _save(config, model, state, directory)
    return model, state


def text_vectors(config: HatLLMConfig, catalogue: Catalogue) -> Tensor:
    """(n_items, k) whitened vectors of the items' texts, which the head starts from."""
    texts = [item_text(item) for item in catalogue.items]
    if config.text_encoder:
        states = sentence_states(config.text_encoder, texts, config.text_tokens)
    else:
        states = item_states(load_backbone(config.backbone), texts, config.text_layers, config.text_tokens)
    return fit_whitening(states, config.text_size)(states)


def new_model(
    config: HatLLMConfig, prepared: Prepared, catalogue: Catalogue, item_vectors: Floats | None = None
) -> HatModel:
    """An untrained model. Raises ConfigError where layers or prompts do not fit the backbone."""
    backbone = prepared.backbone
    head = ItemHead(prepared.text, config.embedding_size, backbone.hidden_size)
    nn.init.zeros_(head.output_projection.weight)  # all items alike: the final norm's states are long, few steps follow
    titles = hat_titles(backbone, catalogue.items, config.title_tokens, Domain(config.item, config.items, config.verb))
    if item_vectors is not None:
        titles = with_placeholders(titles)
    check_context(titles, config.history_length, backbone)
    return _model(config, backbone, titles, head, item_vectors)


def _model(
    config: HatLLMConfig, backbone: Backbone, titles: TitleTokens, head: nn.Module, item_vectors: Floats | None
) -> HatModel:
    layout = layout_of(titles, masks(config, backbone.n_layers))
    lora = lora_config(config.lora_rank, config.lora_alpha, config.lora_dropout, config.lora_targets)
    return HatModel(backbone, layout, titles, head, lora, item_vectors, dropout=config.dropout)


class WindowTask:
    """Trains a HatLLM on windows; see ``models.llm.training.Task``. An epoch is ``evaluate_every`` updates.

    Args:
        config: see :class:`HatLLMConfig`.
        model: what is trained, where its parameters are.
        data: train part and validation examples are used.
        weights: (n_train,) weight of the loss of each train sequence; None: all weigh the same.
    """

    def __init__(
        self, config: HatLLMConfig, model: HatModel, data: WindowedData, weights: Floats | None = None
    ) -> None:
        self._config = config
        self._model = model
        self._windows, of_sequence = train_windows(config, data.train)
        self._weights = np.ones(len(self._windows), np.float32) if weights is None else weights[of_sequence]
        self._lengths = np.asarray([model.titles.ends(window[:-1])[-1] + 1 for window in self._windows])
        self._valid = data.valid.sample(config.valid_examples, config.seed)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See ``models.llm.training.Task``."""
        config = self._config
        return [
            {"params": self._model.adapter_parameters(), "lr": config.learning_rate, "weight_decay": 0.0},
            {
                "params": [*self._model.head.parameters(), *_mapping(self._model)],
                "lr": config.head_learning_rate,
                "weight_decay": config.weight_decay,
            },
        ]

    def batches(self, epoch: int) -> list[Batch]:
        """The next ``evaluate_every`` batches of the passes over all windows, each in a new order."""
        first, config = epoch * self._config.evaluate_every, self._config
        numbers = range(first, min(first + config.evaluate_every, config.steps))
        of_pass = math.ceil(len(self._windows) / config.batch_size)
        passes = {number: self._pass(number) for number in sorted({step // of_pass for step in numbers})}
        return [self._batch(passes[step // of_pass][step % of_pass]) for step in numbers]

    def loss(self, batch: Batch) -> Tensor:
        """See :func:`models.llm.next_item.next_item_loss`."""
        return next_item_loss(self._model.logits, batch)

    def validate(self) -> float:
        """NDCG of the validation examples, full ranking."""
        cutoff = self._config.valid_cutoff or None
        return mean_ndcg(scores_of(self._model, self._config.history_length, training_device()), self._valid, cutoff)

    def _pass(self, number: int) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng([self._config.seed, number])
        return of_like_lengths(self._lengths, self._config.batch_size, rng)

    def _batch(self, rows: NDArray[np.int64]) -> Batch:
        pairs = [self._tokens_and_targets(self._windows[row]) for row in rows]
        return {
            "tokens": pad_sequence([tokens for tokens, _ in pairs], batch_first=True),
            TARGETS: pad_sequence([targets for _, targets in pairs], batch_first=True, padding_value=IGNORED),
            "weights": torch.from_numpy(self._weights[rows]),
        }

    def _tokens_and_targets(self, window: Ints) -> tuple[Tensor, Tensor]:
        """(n_tokens,) each: what the model reads of a window, and what each token predicts."""
        titles = self._model.titles
        tokens, ends = titles.prompt(window[:-1]).astype(np.int64), titles.ends(window[:-1])
        targets = np.full(len(tokens), IGNORED, np.int64)
        predicted = slice(None) if self._config.answers == "every" else slice(-1, None)
        targets[ends[predicted]] = window[predicted]
        return torch.from_numpy(tokens), torch.from_numpy(targets)


def train_windows(config: HatLLMConfig, sequences: Sequences) -> tuple[list[Ints], NDArray[np.int64]]:
    """The windows that are trained on: consecutive ones where every item is predicted, else overlapping ones.

    Returns:
        The windows, and (n_windows,) the row of the sequence that each is of.
    """
    size, overlapping = config.history_length + 1, config.answers == "last"
    windows = cut(sequences, size, overlapping=overlapping)
    of_sequence = owners(sequences, size, overlapping=overlapping)
    if config.train_windows is None or config.train_windows >= len(windows):
        return windows, of_sequence
    rows = np.random.default_rng(config.seed).choice(len(windows), config.train_windows, replace=False)
    return [windows[row] for row in np.sort(rows)], of_sequence[np.sort(rows)]


def scores_of(model: HatModel, history_length: int, device: torch.device, *, exact: bool = False) -> Score:
    """Scores of examples by a model that is where ``device`` says; ``exact`` keeps float32 throughout."""

    @torch.inference_mode()
    def score(examples: Examples) -> Floats:
        histories = [examples.histories[row] for row in range(len(examples))]
        prompts = [model.titles.prompt(newest(history, history_length)) for history in histories]
        scores = np.empty((len(prompts), model.titles.n_items), np.float32)
        lengths = np.asarray([len(prompt) for prompt in prompts], np.int64)
        for rows in shortest_first(lengths, SCORING_BATCH):
            tokens, where = last_tokens([prompts[row] for row in rows])
            with mixed_precision(device, enabled=not exact):
                scores[rows] = model.logits(tokens.to(device), where.to(device)).cpu().numpy()
        return scores

    return score


def load_hatllm(config: HatLLMConfig, directory: Path, backbone: Backbone) -> HatModel:
    """The trained model in a directory of :func:`train_hatllm` without item vectors: its head is fixed.

    ``backbone`` is the configuration's own.
    """
    tensors = load_file(directory / HEAD)
    head = FixedHead(tensors[TABLE] @ tensors[PROJECTION])
    model = _model(config, backbone, TitleTokens.load(directory), head, None)
    set_peft_model_state_dict(model.language_model, load_file(directory / ADAPTER / ADAPTER_WEIGHTS))
    return model.eval()


def _mapping(model: HatModel) -> list[nn.Parameter]:
    """Parameters that map item vectors into the prompt."""
    return [] if model.item_vectors is None else list(model.item_vectors.parameters())


def _save(config: HatLLMConfig, model: HatModel, state: FitState, directory: Path) -> None:
    save_adapter(model.language_model, directory / ADAPTER)
    head: Any = model.head
    with torch.no_grad():
        tensors = {TABLE: head.table(), PROJECTION: head.output_projection.weight}
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, directory / HEAD)
    model.titles.save(directory)
    steps = [min(looks * config.evaluate_every, config.steps) for looks in (state.epoch, state.best_epoch)]
    described = Trained(config.backbone, config.history_length, model.layout.as_config(), state.best, *steps)
    (directory / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(described)))
