"""L2Rec as the engine serves it: histories under resident experts to vectors of users (``models.networks.l2rec``).

A batch is read in parts, each of one adapter and of prompts of like lengths: users who are routed differently share a
part, as all experts are computed and weighed by the routes.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel

from models.contract.errors import BundleError, ConfigError
from models.contract.l2rec import CONFIG_KEY, EXPERTS_CONFIG, L2RecLayout
from models.contract.types import Floats, Ints, RankedList
from models.networks.l2rec_config import ExpertsConfig
from models.networks.l2rec_files import read_experts_config
from service.engine.architecture import check_architecture
from service.engine.device import device_of, dtype_of
from service.engine.errors import BadRequestError
from service.engine.experts import ExpertsStore
from service.engine.lora import BASE_SLOT
from service.engine.model import Answer, ModelSettings, Query
from service.engine.telemetry import BatchCost

PADDING = 1.25  # rows of a part, padded, over its tokens, at most: another part costs the layers' overhead once more
_RANKS_NOTHING = RankedList(np.empty(0, np.int32), np.empty(0, np.float32))


class L2RecModel:
    """A frozen decoder with experts: a :class:`service.engine.types.ServedNetwork`.

    Args:
        decoder: of transformers, without a head, on its device and in the number format of the layers.
        layout: how prompts are read.
        config: of the experts that the server was started for.
        budget_bytes: memory that experts may take.
    """

    ranks = False
    classifies = False

    def __init__(self, decoder: Any, layout: L2RecLayout, config: ExpertsConfig, budget_bytes: int) -> None:
        self.vocabulary_size = int(decoder.config.vocab_size)
        self.max_tokens = int(decoder.config.max_position_embeddings)
        self.user_size = config.user_size
        self._layout = layout
        self._device, self._dtype = decoder.device, decoder.dtype
        self._observe: Callable[[BatchCost], None] = lambda _: None
        self.store = ExpertsStore(decoder, layout, config, self._dtype, budget_bytes)

    @classmethod
    def load(cls, checkpoint: Path, experts: Path, settings: ModelSettings) -> Self:
        """Load a Hugging Face checkpoint whose ``config.json`` says how prompts are read.

        Args:
            checkpoint: its directory.
            experts: of the bundle that is served. They are not loaded here: whoever wants them asks for it.
            settings: device, number format and budget.

        Raises:
            BundleError: it cannot be served, or the experts are not for it.
        """
        config = read_experts_config(experts)
        try:
            decoder = AutoModel.from_pretrained(checkpoint, dtype=torch.float32, local_files_only=True)
            check_architecture(decoder.config)
            layout = L2RecLayout.of_config(getattr(decoder.config, CONFIG_KEY, {}))
        except (OSError, ValueError, KeyError) as exc:
            raise BundleError(f"{checkpoint}: no checkpoint that can be loaded: {exc}") from exc
        except BundleError as exc:
            raise BundleError(f"{checkpoint}: {exc}") from exc
        device = device_of(settings.device)
        try:
            ready = decoder.to(device, dtype_of(settings.dtype, device)).eval()
            return cls(ready, layout, config, settings.adapter_budget_bytes)
        except ConfigError as exc:
            raise BundleError(f"{experts / EXPERTS_CONFIG}: {exc}") from exc

    def check(self, tokens: Ints) -> None:
        """Raises BadRequestError where a prompt holds no item."""
        least = self._layout.instruction_tokens
        if len(tokens) <= least:
            raise BadRequestError(f"input: holds no item: {len(tokens)} tokens, {least} are the instruction's", "input")

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """The vectors, each of length 1, as states; see :class:`service.engine.types.ServedNetwork`."""
        parts = list(parts_of(queries))
        self._observe(self._cost(queries, parts))
        return self._answers(queries, parts)

    def watch(self, observe: Callable[[BatchCost], None]) -> None:
        """See there."""
        self._observe = observe

    def warm_up(self, n_tokens: int, n_queries: int) -> None:
        """See there. The base model reads the prompts: no experts are resident yet."""
        longest = max(n_tokens, self._layout.instruction_tokens + 1)
        shape = n_queries, longest
        prompts = np.random.default_rng(0).integers(0, self.vocabulary_size, shape, np.int32)
        queries = [Query(tokens) for tokens in prompts]
        for some in (queries[:1], queries):
            self._answers(some, list(parts_of(some)))

    def _cost(self, queries: Sequence[Query], parts: Sequence[Sequence[int]]) -> BatchCost:
        lengths = [len(query.tokens) for query in queries]
        items = [self._items(query.tokens) for query in queries]
        rows = sum(len(part) * max(each[number] for number in part) for part in parts for each in (lengths, items))
        prompts = {query.tokens.tobytes() for query in queries}
        return BatchCost(len(prompts), sum(lengths), float(rows))

    def _items(self, tokens: Ints) -> int:
        of_items = tokens[self._layout.instruction_tokens :]
        return int((of_items == self._layout.separator).sum()) + int(of_items[-1] != self._layout.separator)

    @torch.inference_mode()
    def _answers(self, queries: Sequence[Query], parts: Sequence[Sequence[int]]) -> list[Answer]:
        vectors: dict[int, Floats] = {}
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            for part in parts:
                read = self._read([queries[number] for number in part])
                vectors |= zip(part, read.float().cpu().numpy(), strict=True)
        return [Answer(_RANKS_NOTHING, vectors[number]) for number in range(len(queries))]

    def _read(self, queries: Sequence[Query]) -> Tensor:
        """(n, size) the vectors of queries under one adapter."""
        lengths = torch.tensor([len(query.tokens) for query in queries])
        tokens = np.zeros((len(queries), int(lengths.max())), np.int64)
        for row, query in zip(tokens, queries, strict=True):
            row[: len(query.tokens)] = query.tokens
        given = torch.from_numpy(tokens).to(self._device), lengths.to(self._device)
        if queries[0].slot == BASE_SLOT:
            return self.store.base.base(*given)
        nobody = np.zeros(self.user_size, np.float32)
        users = np.stack([nobody if query.user is None else query.user for query in queries])
        return self.store.network(queries[0].slot)(*given, torch.from_numpy(users).to(self._device)).fused


def parts_of(queries: Sequence[Query]) -> Iterator[list[int]]:
    """Numbers of the queries that are read together: of one slot, and of lengths of which little is padding."""

    def key(number: int) -> tuple[int, int]:
        return queries[number].slot, -len(queries[number].tokens)

    for _, numbers in groupby(sorted(range(len(queries)), key=key), lambda number: queries[number].slot):
        part: list[int] = []
        tokens = 0
        for number in numbers:
            length = len(queries[number].tokens)
            if part and (len(part) + 1) * len(queries[part[0]].tokens) > PADDING * (tokens + length):
                yield part
                part, tokens = [], 0
            part.append(number)
            tokens += length
        yield part
