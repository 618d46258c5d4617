"""Instruction tuning of ULMRec (sections 4.2 and 4.3).

Left in the directory: ``adapter/`` (PEFT), ``index_rows.safetensors``, ``prompts.safetensors``, and ``ulmrec.json``,
written last: what was trained, and what validation said of it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from peft import set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from models.contract.errors import ConfigError, DataError
from models.contract.types import Floats, Ints
from models.evaluation.metrics import ndcg
from models.llm.backbone import Backbone, load_backbone
from models.llm.item_token import ADAPTER_WEIGHTS, save_adapter
from models.llm.training import IGNORED, TARGETS, Batch, FitConfig, FitState, fit, forget
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.data import RankingData
from models.papers.ulmrec.mixture import Mixture
from models.papers.ulmrec.model import ULMRec, new_model
from models.papers.ulmrec.prompts import NOBODY, IndexedUsers, ulmrec_prompts
from models.papers.ulmrec.tasks import Prompted, TaskPrompts, Texts
from models.training.batching import of_like_lengths
from models.training.device import differentiated_attention, mixed_precision, training_device
from models.types import Examples, Report

ADAPTER, INDEX_ROWS, DESCRIPTION = "adapter", "index_rows.safetensors", "ulmrec.json"
CUTOFF = 10  # of the validation NDCG


class Trained(msgspec.Struct, frozen=True):
    """Contents of ``ulmrec.json``: what was trained, and what validation said of it."""

    tasks: dict[str, int]
    left_out: tuple[str, ...]
    valid_ndcg: float
    steps: int
    best_steps: int
    seconds: float


def fit_ulmrec(
    config: ULMRecConfig, data: RankingData, directory: Path, report: Report, backbone: Backbone | None = None
) -> ULMRec:
    """Tune adapter and index tokens, unless the directory has the result; an interrupted call goes on.

    Args:
        config: see :class:`ULMRecConfig`.
        data: see :class:`RankingData`; its index is read where ``config.index`` is ``"personal"``.
        directory: where everything is written.
        report: told which tasks are left out, then one line at every look at validation.
        backbone: ``config.backbone``, where somebody has loaded it already.

    Returns:
        The model after its best look at validation, on the device that it was trained on, in evaluation mode.

    Raises:
        ConfigError: layers, letters or prompts do not fit the backbone.
        DataError: there is nothing to train on, or to validate with.
        TrainingError: the loss is NaN or infinite.
    """
    backbone = backbone or load_backbone(config.backbone)
    prompts = ulmrec_prompts(backbone, data.dataset.catalogue.items, config, indexed_users(config, data))
    texts = Texts.of(backbone, prompts, config, data)
    model = new_model(backbone, prompts, texts.index, config).to(training_device()).eval()
    if (directory / DESCRIPTION).exists():
        forget(directory)
        return _restored(model, directory)
    directory.mkdir(parents=True, exist_ok=True)
    task = RankingTask(config, model, TaskPrompts(backbone, prompts, texts, data, config), data)
    if task.mixture.left_out:
        report(f"left out, for lack of data: {', '.join(task.mixture.left_out)}")
    looks = -(-config.steps // config.evaluate_every)
    state = fit(model, task, FitConfig(looks, config.patience, config.seed), directory, report, keep=True)
    _save(config, model, task.mixture, state, directory)
    forget(directory)
    return model


class RankingTask:
    """All tasks of section 4.2, mixed; see ``models.llm.training.Task``. An epoch is ``evaluate_every`` updates.

    Args:
        config: see :class:`ULMRecConfig`.
        model: what is tuned.
        prompts: of all tasks.
        data: its validation examples are looked at.
    """

    def __init__(self, config: ULMRecConfig, model: ULMRec, prompts: TaskPrompts, data: RankingData) -> None:
        self.mixture = Mixture.of_tasks(config, prompts.samples())
        self._config, self._model, self._prompts = config, model, prompts
        self._valid = ValidationSample.of(data, config)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See ``training.Task``."""
        config = self._config
        adapter = {
            "params": self._model.adapter_parameters(),
            "lr": config.learning_rate,
            "weight_decay": config.weight_decay,
        }
        rows = {"params": [self._model.index_rows], "lr": config.index_learning_rate, "weight_decay": 0.0}
        return [adapter, rows] if self._model.index_rows.requires_grad else [adapter]

    def batches(self, epoch: int) -> list[Batch]:
        """The next ``evaluate_every`` batches, of prompts of like lengths."""
        config = self._config
        first, last = (min(each * config.evaluate_every, config.steps) for each in (epoch, epoch + 1))
        numbers = np.arange(first * config.batch_size, last * config.batch_size)
        prompts = [self._prompt(number) for number in numbers.tolist()]
        lengths = np.asarray([len(prompt.tokens) for prompt in prompts], np.int64)
        rng = np.random.default_rng([config.seed, epoch])
        return [as_batch([prompts[row] for row in rows]) for rows in of_like_lengths(lengths, config.batch_size, rng)]

    def loss(self, batch: Batch) -> Tensor:
        """Equation 7 on the responses alone: the mean over a prompt's response, then over prompts.

        So a text of many tokens counts as much as a letter. Where the response is a letter, the softmax is the
        verbalizer's, over the prompt's letters. Over the vocabulary, as equation 7 has it, a backbone that is cut to
        its first layers begins 25 nats away from any letter, and would spend its updates on that.
        """
        targets, n_letters = batch[TARGETS], batch["letters"]
        where = targets != IGNORED
        with mixed_precision(targets.device), differentiated_attention(targets.device):
            states = self._model.states(batch["tokens"], where)
            rows = where.nonzero()[:, 0]
            is_letter = n_letters[rows] > 0
            words = self._model.logits(states[~is_letter])
            letters = self._model.letters(states[is_letter])
        wanted = targets[where]
        losses = letters.new_empty(len(wanted))
        losses[~is_letter] = F.cross_entropy(words.float(), wanted[~is_letter], reduction="none")
        losses[is_letter] = self._letter_losses(letters, wanted[is_letter], n_letters[rows][is_letter])
        return (losses / where.sum(dim=1)[rows]).sum() / len(targets)

    def _letter_losses(self, logits: Tensor, wanted: Tensor, n_letters: Tensor) -> Tensor:
        """(m,) of letters' logits (m, n), wanted tokens (m,), and how many letters each prompt has (m,)."""
        absent = torch.arange(logits.shape[1], device=logits.device) >= n_letters[:, None]
        letter = (self._model.answers == wanted[:, None]).float().argmax(dim=1)
        return F.cross_entropy(logits.masked_fill(absent, -torch.inf), letter, reduction="none")

    def validate(self) -> float:
        """NDCG@10 of the validation examples within their candidates."""
        return self._valid.ndcg(self._model)

    def _prompt(self, number: int) -> Prompted:
        task = self.mixture.tasks[int(self.mixture.of[number])]
        return self._prompts.prompt(task, int(self.mixture.samples[number]), number)


@dataclass(frozen=True)
class ValidationSample:
    """Validation examples and what was retrieved for them."""

    examples: Examples
    candidates: Ints

    @classmethod
    def of(cls, data: RankingData, config: ULMRecConfig) -> "ValidationSample":
        """At most ``valid_examples``, drawn, in their order. Raises DataError where there are none."""
        if not len(data.valid):
            raise DataError("ulmrec: the retriever finds no validation example's target; expected one at least")
        valid, n = data.valid, min(len(data.valid), config.valid_examples)
        chosen = np.sort(np.random.default_rng(config.seed).choice(len(valid), n, replace=False))
        examples = data.dataset.examples("valid").take(valid.rows[chosen])
        return cls(examples, valid.items[chosen, : config.candidates])

    def ndcg(self, model: ULMRec) -> float:
        """NDCG@10 within the candidates."""
        scores = model.letter_scores(self.examples.histories, self.candidates, self.examples.users)
        return float(ndcg(candidate_ranks(scores, self.candidates, self.examples.targets), CUTOFF).mean())


def candidate_ranks(scores: Floats, candidates: Ints, targets: Ints) -> NDArray[np.float64]:
    """Rank (k,) of each target among candidates (k, m), equal scores in the retriever's order; infinity: missing."""
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(candidates, order, axis=1) == targets[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.inf)


def indexed_users(config: ULMRecConfig, data: RankingData) -> IndexedUsers:
    """Users whose index is of tokens. Raises ConfigError where an index is asked for and not given."""
    if config.index != "personal":
        return NOBODY
    if data.index is None:
        raise ConfigError("ulmrec.index: 'personal', but no user index is given; expected numerical, original or none")
    return IndexedUsers(data.dataset.user_ids, data.index.indices, int(data.index.indexer.codebooks.shape[1]))


def as_batch(prompts: list[Prompted]) -> Batch:
    """Prompts as ``tokens`` (b, t); at those that predict the response, ``TARGETS`` (b, t); ``letters`` (b,)."""
    tokens = [torch.from_numpy(prompt.tokens[:-1]).long() for prompt in prompts]
    targets = [torch.full((len(ids),), IGNORED) for ids in tokens]
    for prompt, target in zip(prompts, targets, strict=True):
        target[-prompt.n_response :] = torch.from_numpy(prompt.tokens[-prompt.n_response :]).long()
    return {
        "tokens": pad_sequence(tokens, batch_first=True),
        TARGETS: pad_sequence(targets, batch_first=True, padding_value=IGNORED),
        "letters": torch.tensor([prompt.n_letters for prompt in prompts]),
    }


def _restored(model: ULMRec, directory: Path) -> ULMRec:
    set_peft_model_state_dict(model.language_model, load_file(directory / ADAPTER / ADAPTER_WEIGHTS))
    with torch.no_grad():
        model.index_rows.copy_(load_file(directory / INDEX_ROWS)["rows"])
    return model


def _save(config: ULMRecConfig, model: ULMRec, mixture: Mixture, state: FitState, directory: Path) -> None:
    save_adapter(model.language_model, directory / ADAPTER)
    save_file({"rows": model.index_rows.detach().cpu().contiguous()}, directory / INDEX_ROWS)
    counts = np.bincount(mixture.of, minlength=len(mixture.tasks)).tolist()
    steps, best = (min(looks * config.evaluate_every, config.steps) for looks in (state.epoch, state.best_epoch))
    tasks: dict[str, int] = dict(zip(mixture.tasks, counts, strict=True))
    described = Trained(tasks, mixture.left_out, state.best, steps, best, state.seconds)
    (directory / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(described)) + b"\n")
