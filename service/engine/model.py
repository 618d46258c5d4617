"""The language model: a batch of prompts, each with its own adapter, to the ranked next tokens of each.

A fan-out is a batch of queries with one prompt, candidates of a re-ranker are queries whose prompts begin alike: what
they share is computed once, whoever asks for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from models.contract.errors import BundleError
from models.contract.types import Floats, Ints, RankedList
from service.engine.adapter_files import LoraStore
from service.engine.architecture import check_architecture, read_decoder
from service.engine.device import DType, device_of, dtype_of
from service.engine.head import LOGITS_AT_ONCE, Head, HeadParts, head_parts, rank
from service.engine.head_index import HeadIndex
from service.engine.lora import AdapterStacks, Groups
from service.engine.packing import Batch
from service.engine.telemetry import BatchCost


def _ignore(_: BatchCost) -> None:
    return


def _no_ints() -> Ints:
    return np.empty(0, np.int32)


def _no_floats() -> Floats:
    return np.empty(0, np.float32)


@dataclass(frozen=True)
class ModelSettings:
    """How a checkpoint is loaded.

    Args:
        lora_rank: rank of every adapter on the layers.
        table_rank: rank of every adapter on input embedding and output head; 0 where they leave the vocabulary alone.
        adapter_capacity: adapters that fit before the stacks grow.
        adapter_budget_bytes: memory that adapters may take.
        device: a torch device, or ``auto``: CUDA where there is one.
        dtype: of the layers; ``auto`` is float32 on a CPU (exact) and bfloat16 elsewhere.
        head_index_items: size of a vocabulary from which on it is searched by an index instead of multiplied, on a
            CPU and where adapters have no tables of their own; see ``service.engine.head_index``.
        answer_token: token id whose logit scores a prompt; None: the model classifies nothing.
    """

    lora_rank: int
    table_rank: int = 0
    adapter_capacity: int = 16
    adapter_budget_bytes: int = 2 << 30
    device: str = "auto"
    dtype: DType = "auto"
    head_index_items: int = 200_000
    answer_token: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One prompt under one adapter.

    Args:
        tokens: (n,) token ids of the prompt, at least one.
        slot: the adapter's slot, 0 for the base model.
        n_best: how many next tokens are wanted; 0 where only the state is.
        biased_tokens: (m,) token ids whose logits are changed before ranking.
        biases: (m,) what is added to them; minus infinity excludes a token.
        allowed: (k,) token ids that alone may be ranked; None: all.
        shared: tokens at the prompt's beginning that other queries' prompts begin with too, less than all of them.
        user: (user_size,) float32, the user's embedding; None where the model reads none.
    """

    tokens: Ints
    slot: int = 0
    n_best: int = 0
    biased_tokens: Ints = field(default_factory=_no_ints)
    biases: Floats = field(default_factory=_no_floats)
    allowed: Ints | None = None
    shared: int = 0
    user: Floats | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a query.

    Args:
        ranking: best next tokens with log-probabilities.
        state: (hidden,) the last token's, after the norm; or what else the model gives as a prompt's vector.
        logit: of the model's answer token; None where it has none.
    """

    ranking: RankedList
    state: Floats
    logit: float | None = None


def rows(queries: Sequence[Query]) -> int:
    """Rows of tokens that queries of one request take: of its prompts below the adapters, of its calls above.

    The queries share one beginning of their prompts, or none.
    """
    shared = queries[0].shared
    prompts = {query.tokens.tobytes(): len(query.tokens) - shared for query in queries}
    return 2 * shared + sum(prompts.values()) + sum(len(query.tokens) - shared for query in queries)


class LanguageModel:
    """A decoder-only checkpoint with batched adapters. One thread at a time may answer or publish adapters."""

    ranks = True
    user_size = 0

    def __init__(self, model: Any, settings: ModelSettings) -> None:
        weight = model.get_output_embeddings().weight
        self.vocabulary_size = len(weight)
        self.max_tokens = int(model.config.max_position_embeddings)
        self._device = weight.device
        parts = head_parts(weight)  # before the model is converted: rounded, the product has no narrow parts
        self._head = Head.of(parts, self.vocabulary_size)
        self._index = _index(parts, settings)
        self._answer_row = _answer_row(weight, settings.answer_token)
        dtype = dtype_of(settings.dtype, self._device)
        self._decoder, stacks = read_decoder(model, settings.lora_rank, settings.table_rank, dtype)
        self._tables = next(stack for stack in stacks.values() if stack.level == len(self._decoder.layers))
        self._observe: Callable[[BatchCost], None] = _ignore
        self.adapters = AdapterStacks(stacks, settings.adapter_capacity, settings.adapter_budget_bytes)
        self.store = LoraStore(self.adapters)

    @classmethod
    def load(cls, directory: Path, settings: ModelSettings) -> Self:
        """Load a Hugging Face checkpoint. Raises BundleError where it cannot be served."""
        try:
            model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, local_files_only=True)
            check_architecture(model.config)
        except (OSError, ValueError, KeyError) as exc:
            raise BundleError(f"{directory}: no checkpoint that can be loaded: {exc}") from exc
        except BundleError as exc:
            raise BundleError(f"{directory}: {exc}") from exc
        with torch.inference_mode():
            return cls(model.to(device_of(settings.device)).eval(), settings)

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer a batch in one forward pass; ``answers[i]`` belongs to ``queries[i]``."""
        batch = self._batch(queries)
        computed = self._decoder.computed_tokens(batch, self.adapters.lowest_level(batch.slots))
        self._observe(BatchCost(len(batch.prompts), sum(len(query.tokens) for query in queries), computed))
        return self._answers(batch, queries)

    @property
    def classifies(self) -> bool:
        """Whether there is a token whose logit scores a prompt."""
        return self._answer_row is not None

    def check(self, tokens: Ints) -> None:
        """Any token ids of the vocabulary are a prompt."""

    def watch(self, observe: Callable[[BatchCost], None]) -> None:
        """Tell ``observe``, in the model's thread, what each batch costs."""
        self._observe = observe

    def warm_up(self, n_tokens: int, n_queries: int) -> None:
        """Answer dummy queries, one and many, so that memory and kernels are not new to the first real batch.

        Args:
            n_tokens: of each prompt.
            n_queries: of the larger batch.
        """
        shape = n_queries, n_tokens  # hardly a prompt is another's: nothing is shared
        prompts = np.random.default_rng(0).integers(0, self.vocabulary_size, shape, np.int32)
        queries = [Query(tokens, n_best=1) for tokens in prompts]
        for some in (queries[:1], queries):
            self._answers(self._batch(some), some)

    @torch.inference_mode()
    def index_recall(self, queries: Sequence[Query]) -> float:
        """Share of the exact lists' tokens that are in the lists served; 1 where no index is used."""
        served = self.answer(queries)
        index, self._index = self._index, None
        try:
            exact = self.answer(queries)
        finally:
            self._index = index
        shared = [np.isin(e.ranking.items, s.ranking.items).mean() for e, s in zip(exact, served, strict=True)]
        return float(np.mean(shared))

    def _batch(self, queries: Sequence[Query]) -> Batch:
        return Batch.of(
            [query.tokens for query in queries],
            [query.slot for query in queries],
            self._device,
            [query.shared for query in queries],
            self._decoder.layout,
        )

    @torch.inference_mode()
    def _answers(self, batch: Batch, queries: Sequence[Query]) -> list[Answer]:
        states = self._decoder.states(batch, self.adapters.lowest_level(batch.slots)).float()
        rankings = self._rankings(states, batch, [queries[number] for number in batch.order])
        answers = map(Answer, rankings, states.cpu().numpy(), self._logits(states))
        return [answer for _, answer in sorted(zip(batch.order, answers, strict=True), key=lambda pair: pair[0])]

    def _logits(self, states: Tensor) -> Sequence[float | None]:
        """Of the answer token, for states (n, hidden)."""
        if self._answer_row is None:
            return [None] * len(states)
        logits: list[float | None] = (states @ self._answer_row).tolist()
        return logits

    def _rankings(self, states: Tensor, batch: Batch, queries: Sequence[Query]) -> list[RankedList]:
        """Rankings of the batch's calls, whose queries are given in their order; empty where none is wanted."""
        narrow = self._head.narrow(states)
        rankings = self._from_index(narrow, queries)
        others = [number for number, query in enumerate(queries) if query.n_best and number not in rankings]
        step = max(LOGITS_AT_ONCE // self.vocabulary_size, 1)
        for start in range(0, len(others), step):
            numbers = others[start : start + step]
            logits = self._head.logits(narrow[numbers])
            self._add_own_logits(logits, states[numbers], batch.slots[numbers])
            rankings |= zip(numbers, rank(logits, [queries[number] for number in numbers]), strict=True)
        nothing = RankedList(_no_ints(), _no_floats())
        return [rankings.get(number, nothing) for number in range(len(queries))]

    def _from_index(self, narrow: Tensor, queries: Sequence[Query]) -> dict[int, RankedList]:
        """Complete lists of states (n, width), as far as the index gives them, by number of the query."""
        index = self._index
        if index is None:
            return {}
        numbers = [number for number, query in enumerate(queries) if index.covers(query)]
        found = index.ranked(narrow[numbers].numpy(), [queries[number] for number in numbers])
        pairs = zip(numbers, found, strict=True)
        return {number: ranking for number, ranking in pairs if len(ranking) == queries[number].n_best}

    def _add_own_logits(self, logits: Tensor, states: Tensor, slots: Ints) -> None:
        """Add to logits (n, vocabulary) what adapters with tables of their own make of states (n, hidden)."""
        groups = Groups.of(slots, np.ones(len(slots), np.int64), self._device)
        if groups is not None:
            self._tables.add(logits, states, groups)


def _answer_row(weight: Tensor, token: int | None) -> Tensor | None:
    """(hidden,) float32 row of the output head (vocabulary, hidden)."""
    if token is None:
        return None
    if not 0 <= token < len(weight):
        raise BundleError(f"answer token {token} is outside the vocabulary of {len(weight)} tokens")
    return weight[token].detach().float().clone()


def _index(head: HeadParts, settings: ModelSettings) -> HeadIndex | None:
    rows = head.rows
    if rows is None or len(rows) < settings.head_index_items or settings.table_rank or rows.device.type != "cpu":
        return None
    return HeadIndex(rows.numpy())
