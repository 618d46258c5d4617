"""ULMRec as workers serve it: an ordinary checkpoint with one adapter, whose vocabulary ends in the index tokens.

What :func:`train_ulmrec` leaves in its directory:

```
index/  tuned/            the user index; what tuning left
part/                     the bundle's part, see models.contract.ulmrec
spec.json                 what the manifest says of it
```
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from models.contract.bundle import CHECKPOINT
from models.contract.cf import CFModel
from models.contract.errors import BundleError, ConfigError
from models.contract.probe import BASE, Probe
from models.contract.profile import half
from models.contract.specs import ULMRecSpec
from models.contract.types import Floats, Ints, by_score, item_numbers
from models.contract.ulmrec import PART, ULMRecPrompts
from models.contract.user_index import UserIndexer
from models.data.dataset import Dataset
from models.evaluation.metrics import NO_ITEM
from models.llm.backbone import Backbone, load_backbone
from models.llm.item_token import save_adapter
from models.llm.title import load_adapted
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.data import Candidates, RankingData
from models.papers.ulmrec.index import build_index
from models.papers.ulmrec.model import ULMRec
from models.papers.ulmrec.texts import preferences
from models.papers.ulmrec.tuning import fit_ulmrec
from models.stage import link_file
from models.training.device import training_device
from models.types import Report, Sequences

ADAPTER = f"adapters/{PART}"
SPEC = "spec.json"
RETRIEVED = 50  # items of the CF model from which a user's negatives are drawn, where they are not random
_PART, _INDEX, _TUNED = "part", "index", "tuned"


def train_ulmrec(config: ULMRecConfig, dataset: Dataset, cf: CFModel, directory: Path, report: Report) -> None:
    """Index the users, tune the model and write the bundle's part; an interrupted call goes on from what it has left.

    Args:
        config: see :class:`ULMRecConfig`.
        dataset: its train part is learned from, its validation examples say when to stop.
        cf: the retriever, as it is in the service.
        directory: what an earlier call with the same arguments has left in it is not done again.
        report: told one line a step.

    Raises:
        ConfigError: the model cannot be served, or the backbone is not there or does not do.
    """
    check_served(config)
    backbone = load_backbone(config.backbone)
    index = build_index(config, dataset, directory / _INDEX, report)
    liked = preferences(config, dataset)
    report(f"preferences: {liked.source}")
    retrieved = cf_lists(cf, dataset.train, RETRIEVED) if config.negatives == "retrieved" else None
    data = RankingData(dataset, index, liked, valid_candidates(cf, dataset, config.candidates), retrieved)
    model = fit_ulmrec(config, data, directory / _TUNED, report, backbone)
    spec = write_part(config, backbone, model.cpu(), index.indexer, dataset, directory / _PART)
    (directory / SPEC).write_bytes(msgspec.json.format(msgspec.json.encode(spec)) + b"\n")


def export_part(directory: Path, target: Path) -> ULMRecSpec:
    """Link the part in a directory of :func:`train_ulmrec` into another one; the manifest's words about it.

    Raises:
        BundleError: the training is not over.
    """
    try:
        spec = msgspec.json.decode((directory / SPEC).read_bytes(), type=ULMRecSpec)
    except (OSError, msgspec.MsgspecError) as exc:
        raise BundleError(f"{directory}: no ULMRec that is trained: {exc}") from exc
    shutil.copytree(directory / _PART, target, copy_function=link_file)
    return spec


def check_served(config: ULMRecConfig) -> None:
    """Check that prompts have an index of tokens. Raises ConfigError where they have not."""
    if config.index != "personal":
        raise ConfigError(
            f"ulmrec.index: {config.index!r} is there to be compared with and cannot be served; expected personal"
        )


def valid_candidates(cf: CFModel, dataset: Dataset, n: int) -> Candidates:
    """The CF model's ``n`` best for the validation examples whose target is among them."""
    valid = dataset.examples("valid")
    lists = cf_lists(cf, valid.histories, n)
    rows = np.flatnonzero((lists == valid.targets[:, None]).any(axis=1))
    return Candidates(rows, lists[rows])


def cf_lists(cf: CFModel, histories: Sequences, n: int) -> Ints:
    """(k, n) the CF model's best items for k histories as the service finds them, none of the history."""
    lists = np.full((len(histories), n), NO_ITEM, np.int32)
    for row in range(len(histories)):
        history = histories[row]
        found = cf.recommend(half(cf.fold_in(history)), n, np.unique(history)).items
        lists[row, : len(found)] = found
    return lists


def write_part(
    config: ULMRecConfig, backbone: Backbone, model: ULMRec, indexer: UserIndexer, dataset: Dataset, directory: Path
) -> ULMRecSpec:
    """Write a tuned model, which is on the CPU and is taken apart, as the bundle's part."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / ADAPTER).mkdir(parents=True)
    model.prompts.save(directory)
    indexer.save(directory)
    save_adapter(model.language_model, directory / ADAPTER)
    _extended(model).save_pretrained(str(directory / CHECKPOINT))
    backbone.tokenizer.save_pretrained(str(directory / CHECKPOINT))
    make_probe(ULMRecScorer(directory), dataset.train, config.seed).save(directory)
    return ULMRecSpec(
        base_model=Path(config.backbone).name,
        candidates=model.prompts.candidates,
        lora_rank=config.lora_rank,
        max_tokens=model.prompts.longest,
    )


class ULMRecScorer:
    """The part's own scores, by PEFT in float32: what a worker must answer.

    Args:
        directory: of the part.
    """

    def __init__(self, directory: Path) -> None:
        self.prompts = ULMRecPrompts.load(directory)
        self._indexer = UserIndexer.load(directory)
        self._model = load_adapted(directory / CHECKPOINT, directory / ADAPTER, trainable=False)
        self._model.to(training_device()).eval()

    def rate(self, history: Ints, candidates: Ints, user_id: str | None) -> Floats:
        """Logits (n,) float32 of the candidates' letters; see :data:`models.ranking.rerank.Rate`.

        A user who was not there at training has the index that the history gives; an empty one gives none, and the
        prompt has none.

        Raises:
            ValueError: there are more candidates than letters.
        """
        index = None if user_id is None else self.prompts.user_index(user_id)
        if index is None and len(history):
            index = self._indexer.index(user_id, history)
        return self.scores(history, candidates, index)

    @torch.inference_mode()
    def scores(
        self,
        history: Sequence[int] | Ints,
        candidates: Sequence[int] | Ints,
        index: Ints | None,
        *,
        adapted: bool = True,
    ) -> Floats:
        """The same with an index (levels,); without ``adapted``, the base model's."""
        if not len(candidates):
            return np.empty(0, np.float32)
        prompt = torch.from_numpy(self.prompts.prompt(history, candidates, index)).long()[None]
        if adapted:
            return self._logits(prompt)[: len(candidates)]
        with self._model.disable_adapter():
            return self._logits(prompt)[: len(candidates)]

    def _logits(self, prompt: Tensor) -> Floats:
        base = self._model.get_base_model()
        state = base.model(input_ids=prompt.to(training_device()), use_cache=False).last_hidden_state[0, -1]
        logits: Floats = (base.get_output_embeddings().weight[self.prompts.answers] @ state).cpu().numpy()
        return logits


def make_probe(scorer: ULMRecScorer, train: Sequences, seed: int) -> Probe:
    """Scores of random candidates for the known user with the longest history in training.

    Whoever asks the probe shows the candidates in the order of their numbers.
    """
    user = int(np.diff(train.offsets).argmax())
    history, prompts = train[user], scorer.prompts
    free = np.setdiff1d(np.arange(prompts.n_items), history)
    candidates = item_numbers(np.sort(np.random.default_rng(seed).permutation(free)[: prompts.candidates]))
    lists = {
        name: by_score(candidates, scorer.scores(history, candidates, prompts.indices[user], adapted=name != BASE))
        for name in (BASE, PART)
    }
    return Probe(history, item_numbers([]), lists, user)


@torch.no_grad()
def _extended(model: ULMRec) -> Any:
    """The causal language model without its adapter, the index tokens behind its words at input and output."""
    base, n_words = model.language_model.unload(), model.prompts.n_words
    base.resize_token_embeddings(model.prompts.vocabulary_size, mean_resizing=False)
    for embedding in (base.get_input_embeddings(), base.get_output_embeddings()):
        embedding.weight[n_words:] = model.index_rows
    return base
