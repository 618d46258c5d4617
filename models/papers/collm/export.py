"""CoLLM as workers serve it: an ordinary checkpoint with one adapter, and prompts whose features are tokens.

After training, the mapped vectors of users and items are constants (equation 3), so they become rows of the input
embedding, behind the words'. What :func:`train_collm` leaves in its directory:

```
cf/  text/  features/     the collaborative model, step 1, step 2
part/                     the bundle's part, see models.contract.collm
spec.json                 what the manifest says of it
```
"""

import copy
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from models.cf.pointwise.types import Pairs
from models.contract.bundle import CHECKPOINT
from models.contract.collm import PART, CoLLMPrompts
from models.contract.errors import BundleError, ConfigError
from models.contract.probe import BASE, PROBED_ITEMS, Probe
from models.contract.specs import CoLLMSpec
from models.contract.types import Floats, Ints, by_score, item_numbers
from models.data.labelled import LabelledData
from models.llm.backbone import cache_name
from models.llm.item_token import save_adapter
from models.llm.title import load_adapted
from models.papers.collm.config import CoLLMConfig
from models.papers.collm.model import CoLLM
from models.papers.collm.prompts import known
from models.papers.collm.tuning import Inputs, feature_model, pretrain, text_model, tune
from models.stage import link_file
from models.training.device import training_device
from models.types import Report

ADAPTER = f"adapters/{PART}"
SPEC = "spec.json"
_PART, _CF, _TEXT, _FEATURES = "part", "cf", "text", "features"
_PROMPTS_AT_ONCE, _VECTORS_AT_ONCE = 32, 1024


def train_collm(config: CoLLMConfig, data: LabelledData, directory: Path, report: Report) -> None:
    """Train everything and write the bundle's part; an interrupted call goes on from what it has left.

    Args:
        config: see :class:`CoLLMConfig`.
        data: pairs of train and valid are used; a user's served vector is the one after the training pairs.
        directory: what an earlier call with the same arguments has left in it is not done again.
        report: told one line an epoch.

    Raises:
        ConfigError: the collaborative model is DIN, or the backbone is not there or does not do.
    """
    check_served(config)
    inputs = Inputs.read(config, data)
    cf, text, features = directory / _CF, directory / _TEXT, directory / _FEATURES
    if config.pretrained:
        report(f"{config.cf}: validation AUC {pretrain(config, data, cf):.4f}")
    if config.tuning != "T3":
        tune(config, inputs, text_model(config, inputs), text, _prefixed("text", report))
    model = feature_model(config, inputs, cf, text)
    tune(config, inputs, model, features, _prefixed("features", report))
    spec = write_part(config, inputs, model.cpu(), directory / _PART)
    (directory / SPEC).write_bytes(msgspec.json.format(msgspec.json.encode(spec)) + b"\n")


def export_part(directory: Path, target: Path) -> CoLLMSpec:
    """Link the part in a directory of :func:`train_collm` into another one; the manifest's words about it.

    Raises:
        BundleError: the training is not over.
    """
    try:
        spec = msgspec.json.decode((directory / SPEC).read_bytes(), type=CoLLMSpec)
    except (OSError, msgspec.MsgspecError) as exc:
        raise BundleError(f"{directory}: no CoLLM that is trained: {exc}") from exc
    shutil.copytree(directory / _PART, target, copy_function=link_file)
    return spec


def check_served(config: CoLLMConfig) -> None:
    """Check that users' vectors are constants after training. Raises ConfigError where they are not."""
    if config.cf == "din" and config.tuning != "UI-token":
        raise ConfigError(
            "collm.cf: 'din' cannot be served: its vector of a user is another one for each candidate, so it is no row"
            " of a checkpoint; expected one of mf, lightgcn, sasrec"
        )


def write_part(config: CoLLMConfig, inputs: Inputs, model: CoLLM, directory: Path) -> CoLLMSpec:
    """Write a tuned model, which is on the CPU and is taken apart, as the bundle's part."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / ADAPTER).mkdir(parents=True)
    inputs.prompts.save(directory)
    rows = feature_rows(model, inputs.data)
    save_adapter(model.language_model, directory / ADAPTER)
    with_rows(model.language_model, rows).save_pretrained(str(directory / CHECKPOINT))
    inputs.backbone.tokenizer.save_pretrained(str(directory / CHECKPOINT))
    make_probe(CoLLMScorer(directory, inputs.answer), inputs.data, config.seed).save(directory)
    return CoLLMSpec(
        base_model=Path(config.backbone).name,
        cf=config.cf,
        lora_rank=config.lora_rank,
        max_tokens=inputs.prompts.longest,
        answer=inputs.backbone.tokenizer.convert_ids_to_tokens(inputs.answer),
        answer_token=inputs.answer,
    )


@torch.no_grad()
def feature_rows(model: CoLLM, data: LabelledData) -> Tensor:
    """(n_known_users + n_items, hidden) rows behind the words', in the order of their tokens.

    The row of an item that the training pairs lack is zero: no prompt has it.
    """
    if model.features is None:
        raise ConfigError("collm: a model without features has no rows for them")
    known_users, known_items = known(data)
    users, items = np.flatnonzero(known_users), np.arange(data.n_items)
    of_users = [model.features(pairs)[0] for pairs in _user_pairs(data, users, model.cf_history)]
    of_items = [model.features(pairs)[1] for pairs in _item_pairs(data, items, model.cf_history)]
    item_rows = torch.cat(of_items) * torch.from_numpy(known_items)[:, None]
    return torch.cat([*of_users, item_rows])


@torch.no_grad()
def with_rows(language_model: PeftModel, rows: Tensor) -> Any:
    """The causal language model without its adapter, its vocabulary extended by rows of the input embedding.

    An output head of its own gets zeros there.
    """
    base = language_model.unload()
    n_words = base.get_input_embeddings().weight.shape[0]
    base.resize_token_embeddings(n_words + len(rows), mean_resizing=False)
    if base.get_output_embeddings().weight is not base.get_input_embeddings().weight:
        base.get_output_embeddings().weight[n_words:] = 0.0
    base.get_input_embeddings().weight[n_words:] = rows
    return base


class CoLLMScorer:
    """The part's own scores, by PEFT in float32: what a worker must answer.

    Args:
        directory: of the part.
        answer: the answer token.
    """

    def __init__(self, directory: Path, answer: int) -> None:
        self.prompts = CoLLMPrompts.load(directory)
        self._model = load_adapted(directory / CHECKPOINT, directory / ADAPTER, trainable=False)
        self._model.to(training_device()).eval()
        self._answer = answer

    @torch.inference_mode()
    def scores(
        self, history: Sequence[int] | Ints, candidates: Sequence[int] | Ints, user: int | None, *, adapted: bool = True
    ) -> Floats:
        """Logits (n,) float32 of the candidates; for the arguments see :meth:`CoLLMPrompts.prompts`.

        Without ``adapted`` they are the base model's.
        """
        prompts = self.prompts.prompts(history, candidates, user)
        if not adapted:
            with self._model.disable_adapter():
                return self._logits(prompts)
        return self._logits(prompts)

    def rate(self, history: Ints, candidates: Ints, user_id: str | None) -> Floats:
        """The same for a user by id; see :data:`models.ranking.rerank.Rate`."""
        return self.scores(history, candidates, None if user_id is None else self.prompts.user_row(user_id))

    def _logits(self, prompts: Sequence[Ints]) -> Floats:
        """What all prompts begin with, the history, is read once."""
        if not prompts:
            return np.empty(0, np.float32)
        n_shared, decoder = _shared(prompts), self._model.get_base_model().model
        beginning = torch.from_numpy(prompts[0][None, :n_shared].astype(np.int64)).to(training_device())
        read = DynamicCache(config=decoder.config)
        decoder(input_ids=beginning, use_cache=True, **{cache_name(decoder): read})
        endings = [torch.from_numpy(ids[n_shared:].astype(np.int64)) for ids in prompts]
        starts = range(0, len(endings), _PROMPTS_AT_ONCE)
        batches = (endings[at : at + _PROMPTS_AT_ONCE] for at in starts)
        return np.concatenate([self._logits_after(copy.deepcopy(read), batch) for batch in batches])

    def _logits_after(self, read: Any, endings: Sequence[Tensor]) -> Floats:
        """Of prompts that go on with these tokens; ``read``, the cache of what they begin with, is used up."""
        device, base = training_device(), self._model.get_base_model()
        read.batch_repeat_interleave(len(endings))
        tokens = pad_sequence(list(endings), batch_first=True).to(device)
        last = torch.tensor([len(ids) - 1 for ids in endings], device=device)
        states = base.model(input_ids=tokens, use_cache=True, **{cache_name(base.model): read}).last_hidden_state
        row = base.get_output_embeddings().weight[self._answer]
        logits: Floats = (states[torch.arange(len(endings), device=device), last] @ row).cpu().numpy()
        return logits


def _shared(prompts: Sequence[Ints]) -> int:
    """How many tokens all prompts begin with; at least one of each is left."""
    least = min(map(len, prompts)) - 1
    alike = (np.stack([ids[:least] for ids in prompts]) == prompts[0][:least]).all(axis=0)
    return least if alike.all() else int(alike.argmin())


def make_probe(scorer: CoLLMScorer, data: LabelledData, seed: int) -> Probe:
    """Scores of random candidates for the known user with the longest history in training."""
    known_users, known_items = known(data)
    histories = histories_after(data)
    row = max(np.flatnonzero(known_users).tolist(), key=lambda each: len(histories[each]))
    history, user = item_numbers(histories[row]), scorer.prompts.user_row(data.user_ids[row])
    free = np.setdiff1d(np.flatnonzero(known_items), history)
    drawn = np.random.default_rng(seed).permutation(free)[:PROBED_ITEMS]
    candidates = item_numbers(np.sort(drawn))
    lists = {
        name: by_score(candidates, scorer.scores(history, candidates, user, adapted=name != BASE))
        for name in (BASE, PART)
    }
    return Probe(history, item_numbers([]), lists, user)


def histories_after(data: LabelledData) -> dict[int, NDArray[np.int32]]:
    """What each user of the training pairs had liked when they were over, oldest first, by row."""
    train = data.train
    histories = dict.fromkeys(train.users.tolist(), item_numbers([]))
    for row in np.flatnonzero(train.labels).tolist():
        histories[int(train.users[row])] = np.concatenate([train.histories[row], train.items[row : row + 1]])
    return histories


def _user_pairs(data: LabelledData, users: NDArray[np.int64], length: int) -> Iterator[Pairs]:
    histories = histories_after(data)
    padded = np.full((len(users), length), data.n_items, np.int64)
    for place, user in enumerate(users.tolist()):
        newest = histories[user][-length:] if length else histories[user][:0]
        padded[place, length - len(newest) :] = newest
    for rows in _chunks(len(users)):
        batch = torch.from_numpy(users[rows])
        yield Pairs(batch, torch.zeros_like(batch), torch.from_numpy(padded[rows]))


def _item_pairs(data: LabelledData, items: NDArray[np.int64], length: int) -> Iterator[Pairs]:
    for rows in _chunks(len(items)):
        batch = torch.from_numpy(items[rows])
        yield Pairs(torch.zeros_like(batch), batch, torch.full((len(batch), length), data.n_items))


def _chunks(n: int) -> Iterator[NDArray[np.int64]]:
    return (np.arange(at, min(at + _VECTORS_AT_ONCE, n)) for at in range(0, n, _VECTORS_AT_ONCE))


def _prefixed(name: str, report: Report) -> Report:
    return lambda line: report(f"{name}: {line}")
