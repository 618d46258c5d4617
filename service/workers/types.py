"""The nouns of the worker side: what is asked, and what came of it. A worker's failure is a value, no exception."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import numpy as np
import orjson

from models.contract.prompts import start_token
from models.contract.types import Ints, RankedList
from service.wire import FanoutRequest

EXCLUDING_BIAS = -100.0  # the lowest the API allows: the item's probability becomes zero for every purpose


WorkerKind = Literal["vllm", "engine"]


@dataclass(frozen=True)
class PoolOptions:
    """One pool, as configured.

    Args:
        name: the pool's name, a metric label.
        urls: one base URL per replica.
        bundle_root: the directory of bundles as the workers see it.
        kind: what the workers are: ``vllm`` for the OpenAI API alone, ``engine`` for one call to many adapters, too.
        slots: adapters that one replica holds.
        in_flight_limit: calls per replica at one time; what exceeds it is refused at once.
        probe_interval_seconds: how often each replica is looked at.
        failures_to_open: see :class:`service.workers.breaker.Breaker`.
        cooldown_seconds: see :class:`service.workers.breaker.Breaker`.
        drain_seconds: how long the adapters of a bundle stay that is no longer expected.
        hedge: whether a call that is late is made a second time, on another replica.
    """

    name: str
    urls: tuple[str, ...]
    bundle_root: Path
    kind: WorkerKind = "vllm"
    slots: int = 32
    in_flight_limit: int = 64
    probe_interval_seconds: float = 1.0
    failures_to_open: int = 20
    cooldown_seconds: float = 1.0
    drain_seconds: float = 10.0
    hedge: bool = False


class OutcomeKind(StrEnum):
    """How a worker call ended."""

    OK = "ok"
    TIMEOUT = "timeout"
    REFUSED = "refused"  # 503, or our own limit of calls in flight
    UNREACHABLE = "unreachable"  # no connection, or no replica that is ready
    NOT_FOUND = "not_found"  # the adapter is not there and could not be loaded
    NOT_RESIDENT = "not_resident"  # there is no slot for the adapter now, or it would come too late
    UNTRUSTED = "untrusted"  # the adapter is there, but did not answer its probe as it should
    INVALID = "invalid"  # an answer that breaks the contract


NO_ITEMS = RankedList(np.empty(0, np.int32), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of one call after ``seconds``: a ranking where ``kind`` is ``ok``, else a detail for the log.

    ``retry_after_seconds`` is what a worker that refused asked for.
    """

    kind: OutcomeKind
    ranking: RankedList = NO_ITEMS
    detail: str = ""
    seconds: float = 0.0
    retry_after_seconds: float = 0.0


@dataclass(frozen=True)
class Completion:
    """The part of a request that all communities share.

    Args:
        prompt: token ids of the history.
        candidates: how many items to rank.
        excluded: item numbers that must not be ranked; they travel as ``logit_bias``, with the start token.
        n_items: how many items there are.
        item_offset: token id of item 0. It is 0 in the item-token form alone, where the start token follows the items.
        allowed: item numbers that alone may be ranked, none of them excluded; they travel as ``allowed_token_ids``, in
            the place of what is excluded. None: all.
    """

    prompt: list[int]
    candidates: int
    excluded: Ints
    n_items: int
    item_offset: int = 0
    allowed: Ints | None = None

    def body(self, model: str) -> bytes:
        """JSON body of ``POST /v1/completions`` for one adapter."""
        return b'{"model":' + orjson.dumps(model) + b"," + self._shared_body

    def fanout_body(self, models: Sequence[str], timeout_seconds: float) -> bytes:
        """JSON body of ``POST /v1/fanout`` for many adapters: a :class:`service.wire.FanoutRequest`."""
        request = FanoutRequest(
            models=list(models),
            prompt=self.prompt,
            n=self.candidates,
            exclude=[] if self.allowed is not None else self._excluded_tokens(),
            allow=self._allowed_tokens(),
            timeout_ms=timeout_seconds * 1e3,
        )
        return msgspec.json.encode(request)

    @cached_property
    def _shared_body(self) -> bytes:
        # Encoded once for all communities of a request: the exclusions may be a thousand entries.
        fields: dict[str, object] = {
            "prompt": self.prompt,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": self.candidates,
            "return_tokens_as_token_ids": True,
        }
        if self.allowed is not None:
            fields["allowed_token_ids"] = self._allowed_tokens()
        else:
            fields["logit_bias"] = dict.fromkeys(map(str, self._excluded_tokens()), EXCLUDING_BIAS)
        return orjson.dumps(fields)[1:]

    def _excluded_tokens(self) -> list[int]:
        tokens: list[int] = (self.excluded + self.item_offset).tolist()
        return tokens if self.item_offset else [*tokens, start_token(self.n_items)]

    def _allowed_tokens(self) -> list[int] | None:
        return None if self.allowed is None else (self.allowed + self.item_offset).tolist()


@dataclass(frozen=True, slots=True)
class Question:
    """A completion, and the instant (on the loop's clock) at which its answer is worth nothing any more."""

    completion: Completion
    deadline: float


@dataclass(frozen=True, slots=True)
class ServedModels:
    """What ``GET /v1/models`` names: base models, and the adapters that are loaded."""

    bases: frozenset[str]
    adapters: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """State of one replica.

    Args:
        pool: name of its pool.
        url: where it is.
        bundles: ids of the expected bundles that it is ready for.
        reason: why it is ready for none, or empty.
        refused: adapters that are not used, each with the reason.
    """

    pool: str
    url: str
    bundles: tuple[str, ...]
    reason: str
    refused: tuple[str, ...] = ()


class PoolEvent(StrEnum):
    """What is counted of a pool."""

    ADAPTER_MISSED = "adapter_missed"  # a worker did not know an adapter that it should have had
    ADAPTER_UNLOADED = "adapter_unloaded"
    ADAPTER_EVICTED = "adapter_evicted"  # unloaded in favour of another one
    PROBE_PASSED = "probe_passed"
    PROBE_FAILED = "probe_failed"  # the adapter was not applied, or it was another
    PROBE_UNANSWERED = "probe_unanswered"
    HEDGE_SENT = "hedge_sent"
    HEDGE_WON = "hedge_won"


class PoolObserver(Protocol):
    """Hears what happens in a pool."""

    def call_ended(self, pool: str, adapter: str, kind: OutcomeKind, seconds: float) -> None:
        """What was asked of an adapter ended after ``seconds``."""
        ...

    def adapter_loaded(self, pool: str, ok: bool, seconds: float) -> None:
        """An adapter was loaded, or could not be."""
        ...

    def happened(self, pool: str, event: PoolEvent) -> None:
        """Something to count."""
        ...

    def replica_changed(
        self, pool: str, url: str, ready: bool, breaker_state: str, resident: int, strangers: int
    ) -> None:
        """A replica's readiness, breaker, number of resident adapters, or of strangers may have changed."""
        ...
