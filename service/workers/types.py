"""The nouns of the worker side: what is asked, and what came of it. A worker's failure is a value, no exception."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Protocol

import numpy as np
import orjson

from models.contract.prompts import start_token
from models.contract.types import Ints, RankedList

EXCLUDING_BIAS = -100.0  # the lowest the API allows: the item's probability becomes zero for every purpose


class OutcomeKind(StrEnum):
    """How a worker call ended."""

    OK = "ok"
    TIMEOUT = "timeout"
    REFUSED = "refused"  # 503, or our own limit of calls in flight
    UNREACHABLE = "unreachable"  # no connection, or no replica that is ready
    NOT_FOUND = "not_found"  # the adapter is not there and could not be loaded
    INVALID = "invalid"  # an answer that breaks the contract


NO_ITEMS = RankedList(np.empty(0, np.int32), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of one call after ``seconds``: a ranking where ``kind`` is ``ok``, else a detail for the log."""

    kind: OutcomeKind
    ranking: RankedList = NO_ITEMS
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Completion:
    """The part of a request that all communities share.

    Args:
        prompt: token ids of the history.
        candidates: how many items to rank.
        excluded: item numbers that must not be ranked; they travel as ``logit_bias``, with the start token.
        n_items: how many items there are.
        item_offset: token id of item 0. It is 0 in the item-token form alone, where the start token follows the items.
    """

    prompt: list[int]
    candidates: int
    excluded: Ints
    n_items: int
    item_offset: int = 0

    def body(self, model: str) -> bytes:
        """JSON body of ``POST /v1/completions`` for one adapter."""
        return b'{"model":' + orjson.dumps(model) + b"," + self._shared_body

    @cached_property
    def _shared_body(self) -> bytes:
        # Encoded once for all communities of a request: the exclusions may be a thousand entries.
        fields = {
            "prompt": self.prompt,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": self.candidates,
            "return_tokens_as_token_ids": True,
            "logit_bias": dict.fromkeys(map(str, self._excluded_tokens()), EXCLUDING_BIAS),
        }
        return orjson.dumps(fields)[1:]

    def _excluded_tokens(self) -> list[int]:
        tokens: list[int] = (self.excluded + self.item_offset).tolist()
        return tokens if self.item_offset else [*tokens, start_token(self.n_items)]


@dataclass(frozen=True, slots=True)
class ServedModels:
    """What ``GET /v1/models`` names: base models, and the adapters that are loaded."""

    bases: frozenset[str]
    adapters: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """State of one replica: the bundle it is ready for, or why it is not usable."""

    pool: str
    url: str
    bundle_id: str | None
    reason: str


class PoolObserver(Protocol):
    """Hears what happens in a pool."""

    def call_ended(self, pool: str, adapter: str, kind: OutcomeKind, seconds: float) -> None:
        """A call ended after ``seconds``."""
        ...

    def adapter_missed(self, pool: str) -> None:
        """A worker did not know an adapter that it should have had."""
        ...

    def adapter_loaded(self, pool: str, ok: bool, seconds: float) -> None:
        """An adapter was loaded, or could not be."""
        ...

    def replica_changed(self, pool: str, url: str, ready: bool, breaker_state: str) -> None:
        """A replica's readiness or breaker may have changed."""
        ...
