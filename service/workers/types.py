"""The nouns of the worker side: what is asked, and what came of it. A worker's failure is a value, no exception."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import orjson

from models.contract.specs import Part
from models.contract.types import RankedList
from service.workers.breaker import BreakerState

WorkerKind = Literal["vllm", "engine"]


@dataclass(frozen=True)
class PoolOptions:
    """One pool, as configured.

    Args:
        name: the pool's name, a metric label.
        urls: one base URL per replica.
        bundle_root: the directory of bundles as the workers see it.
        kind: what the workers are: ``vllm`` for the OpenAI API alone, ``engine`` for one call to many adapters, too.
        part: which of a bundle's models the workers serve.
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
    part: Part = "local"
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


class Inquiry(Protocol):
    """What is asked of one adapter, and how its answer is read."""

    @property
    def path(self) -> str:
        """Where a worker takes it."""
        ...

    @property
    def affinity(self) -> str:
        """Equal for what is best asked of the same replica, since it has read the same history before."""
        ...

    @property
    def reads_long(self) -> bool:
        """Whether reading an answer takes so long that the event loop must not wait for it."""
        ...

    def body(self, model: str) -> bytes:
        """JSON body of the call to one adapter, by the name under which workers serve it."""
        ...

    def read(self, answer: bytes) -> RankedList:
        """The ranked items of an answer's body. Raises ValueError where it breaks the contract."""
        ...


def for_model(model: str, fields: bytes) -> bytes:
    """The JSON object ``fields``, which is not empty, with the name of a model before the others."""
    return b'{"model":' + orjson.dumps(model) + b"," + fields[1:]


@dataclass(frozen=True, slots=True)
class Question:
    """An inquiry, and the instant (on the loop's clock) at which its answer is worth nothing any more."""

    inquiry: Inquiry
    deadline: float


@dataclass(frozen=True, slots=True)
class ServedModels:
    """What ``GET /v1/models`` names: base models, and the adapters that are loaded."""

    bases: frozenset[str]
    adapters: frozenset[str]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the last ``n`` calls took, in milliseconds; None where there were none."""

    p50: float | None = None
    p95: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """State of one replica.

    Args:
        pool: name of its pool.
        url: where it is.
        bundles: ids of the expected bundles that it is ready for.
        reason: why it is ready for none, or empty.
        refused: adapters that are not used, each with the reason.
        breaker: state of its breaker.
        in_flight: calls that run now.
        adapters: names of those that are resident.
        latency_ms: of the calls that it ended last.
    """

    pool: str
    url: str
    bundles: tuple[str, ...]
    reason: str
    refused: tuple[str, ...] = ()
    breaker: BreakerState = BreakerState.CLOSED
    in_flight: int = 0
    adapters: tuple[str, ...] = ()
    latency_ms: Latency = Latency()


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

    def adapters_known(self, pool: str, adapters: frozenset[str]) -> None:
        """From now on calls may ask these adapters, by their names inside bundles, and no others."""
        ...

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
