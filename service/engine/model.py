"""The language model: a batch of prompts, each with its own adapter, to the ranked next tokens of each.

Prompts are padded on the right. With causal attention no token sees what comes after it, so the padding changes nothing
that is read, and no mask is needed; the last real position is gathered from the states after the final norm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM

from models.contract.errors import BundleError
from models.contract.types import Floats, Ints, RankedList
from service.engine.lora import AdapterStacks, BatchSlots, add_multi_lora

DType = Literal["auto", "float32", "bfloat16"]

# Configuration keys of architectures that change logits behind the output head, which is called by itself here.
_LOGIT_TRANSFORMS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


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
        dtype: ``auto`` is float32 on a CPU (exact) and bfloat16 elsewhere.
    """

    lora_rank: int
    table_rank: int = 0
    adapter_capacity: int = 16
    adapter_budget_bytes: int = 2 << 30
    device: str = "auto"
    dtype: DType = "auto"


@dataclass(frozen=True, slots=True)
class Query:
    """One prompt under one adapter.

    Args:
        tokens: (n,) token ids of the prompt, at least one.
        slot: the adapter's slot, 0 for the base model.
        n_best: how many next tokens are wanted; 0 where only the state is.
        biased_tokens: (m,) token ids whose logits are changed before ranking.
        biases: (m,) what is added to them.
    """

    tokens: Ints
    slot: int = 0
    n_best: int = 0
    biased_tokens: Ints = field(default_factory=_no_ints)
    biases: Floats = field(default_factory=_no_floats)


@dataclass(frozen=True, slots=True)
class Answer:
    """``ranking``: best next tokens with log-probabilities; ``state``: (hidden,) last token's, after the norm."""

    ranking: RankedList
    state: Floats


class LanguageModel:
    """A decoder-only checkpoint with batched adapters. One thread at a time may answer or change adapters."""

    def __init__(self, model: Any, settings: ModelSettings) -> None:
        self._decoder = model.base_model
        weight = model.get_output_embeddings().weight
        self.vocabulary_size = len(weight)
        self.max_tokens = int(model.config.max_position_embeddings)
        self._device = weight.device
        self._slots = BatchSlots()
        stacks = add_multi_lora(model, settings.lora_rank, settings.table_rank, self._slots)
        self.adapters = AdapterStacks(stacks, settings.adapter_capacity, settings.adapter_budget_bytes)
        self._head = model.get_output_embeddings()

    @classmethod
    def load(cls, directory: Path, settings: ModelSettings) -> Self:
        """Load a Hugging Face checkpoint. Raises BundleError where it cannot be served."""
        device = _device(settings.device)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                directory, dtype=_dtype(settings.dtype, device), attn_implementation="sdpa", local_files_only=True
            )
        except (OSError, ValueError, KeyError) as exc:
            raise BundleError(f"{directory}: no checkpoint that can be loaded: {exc}") from exc
        for key in _LOGIT_TRANSFORMS:
            if getattr(model.config, key, None):
                raise BundleError(f"{directory}: {key} in config.json is not supported")
        return cls(model.to(device).eval(), settings)

    @torch.inference_mode()
    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer a batch in one forward pass; ``answers[i]`` belongs to ``queries[i]``."""
        states = self._states(queries)
        rankings = self._rankings(states, queries)
        return [Answer(*pair) for pair in zip(rankings, states.float().cpu().numpy(), strict=True)]

    def _states(self, queries: Sequence[Query]) -> Tensor:
        lengths = [len(query.tokens) for query in queries]
        tokens = np.zeros((len(queries), max(lengths)), np.int64)
        for row, query in enumerate(queries):
            tokens[row, : lengths[row]] = query.tokens
        self._slots.set([query.slot for query in queries], self._device)
        input_ids = torch.from_numpy(tokens).to(self._device)
        states = self._decoder(input_ids=input_ids, use_cache=False).last_hidden_state  # (batch, tokens, hidden)
        last = torch.tensor(lengths, device=self._device) - 1
        gathered: Tensor = states[torch.arange(len(queries), device=self._device), last]
        return gathered

    def _rankings(self, states: Tensor, queries: Sequence[Query]) -> list[RankedList]:
        n_best = max(query.n_best for query in queries)
        if n_best == 0:
            return [RankedList(_no_ints(), _no_floats())] * len(queries)
        logits = self._head(states).float()  # (batch, vocabulary)
        _add_biases(logits, queries)
        best = torch.topk(logits, n_best, dim=-1)
        scores = (best.values - torch.logsumexp(logits, dim=-1, keepdim=True)).cpu().numpy()
        tokens: NDArray[np.int32] = best.indices.to(torch.int32).cpu().numpy()
        return [RankedList(tokens[row, : q.n_best], scores[row, : q.n_best]) for row, q in enumerate(queries)]


def _add_biases(logits: Tensor, queries: Sequence[Query]) -> None:
    columns = np.concatenate([query.biased_tokens for query in queries])
    if not len(columns):
        return
    rows = np.repeat(np.arange(len(queries)), [len(query.biased_tokens) for query in queries])
    biases = np.concatenate([query.biases for query in queries])
    where = (torch.from_numpy(rows).to(logits.device), torch.from_numpy(columns.astype(np.int64)).to(logits.device))
    logits.index_put_(where, torch.from_numpy(biases).to(logits.device), accumulate=True)


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(name: DType, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
