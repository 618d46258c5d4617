"""Metrics of the worker pools. Series of adapters that are served no more go; those beyond a limit share one."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from service.gateway.telemetry.series import LATENCY_BUCKETS, Children, Series
from service.workers.breaker import BreakerState
from service.workers.types import OutcomeKind, PoolEvent

LOAD_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MAX_ADAPTERS = 64  # of a pool that have a label of their own: each is a histogram for each outcome
OTHER = "other"

# The counter of each event, and its outcome there where it has one.
_COUNTED: Mapping[PoolEvent, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        PoolEvent.ADAPTER_MISSED: ("adapter_misses", ()),
        PoolEvent.ADAPTER_UNLOADED: ("adapter_unloads", ()),
        PoolEvent.ADAPTER_EVICTED: ("adapter_evictions", ()),
        PoolEvent.PROBE_PASSED: ("adapter_probes", ("passed",)),
        PoolEvent.PROBE_FAILED: ("adapter_probes", ("failed",)),
        PoolEvent.PROBE_UNANSWERED: ("adapter_probes", ("unanswered",)),
        PoolEvent.HEDGE_SENT: ("hedges", ("sent",)),
        PoolEvent.HEDGE_WON: ("hedges", ("won",)),
    }
)


class PoolTelemetry:
    """What pools tell of themselves: a :class:`service.workers.types.PoolObserver`.

    Args:
        series: makes the metrics.
    """

    def __init__(self, series: Series) -> None:
        self._named: dict[str, frozenset[str]] = {}
        self._calls = series.distribution(
            "worker_call_seconds", "Worker calls by adapter", ("pool", "adapter", "outcome"), LATENCY_BUCKETS
        )
        self._events = {
            "adapter_misses": series.counter("adapter_misses", "Calls that found their adapter missing", ("pool",)),
            "adapter_unloads": series.counter("adapter_unloads", "Adapters unloaded", ("pool",)),
            "adapter_evictions": series.counter(
                "adapter_evictions", "Adapters unloaded for the sake of another one", ("pool",)
            ),
            "adapter_probes": series.counter(
                "adapter_probes", "Adapters asked to prove what they are", ("pool", "outcome")
            ),
            "hedges": series.counter("hedges", "Calls made a second time, and those quicker", ("pool", "outcome")),
        }
        self._loads = series.histogram(
            "adapter_load_seconds", "Adapter loads at run time", ("pool", "outcome"), LOAD_BUCKETS
        )
        where = ("pool", "replica")
        self._ready = Children(
            series.gauge("worker_ready", "1 where the replica has what it should have of an expected bundle", where)
        )
        self._resident = Children(series.gauge("adapters_resident", "Adapters loaded and proven on the replica", where))
        self._strangers = Children(
            series.gauge("adapters_strange", "Adapters on the replica that this gateway did not load", where)
        )
        self._breakers = Children(
            series.gauge("breaker_state", "1 for the state that the breaker is in", (*where, "state"))
        )
        self._in_flight = series.gauge("worker_calls_in_flight", "Calls that the replica is answering now", where)

    def watch(self, pool: str, in_flight: Callable[[], Mapping[str, int]]) -> None:
        """Ask for a pool's calls in flight, by replica, whenever metrics are read. Its counters begin at 0."""
        for url in in_flight():
            self._in_flight.labels(pool, url).set_function(partial(_of, in_flight, url))
        for counter, outcome in _COUNTED.values():
            self._events[counter][pool, *outcome].inc(0)

    def adapters_known(self, pool: str, adapters: frozenset[str]) -> None:
        """See :class:`service.workers.types.PoolObserver`. The first ones by name keep theirs, in every process."""
        named = self._named[pool] = frozenset(sorted(adapters)[:MAX_ADAPTERS])
        self._calls.keep(lambda labels: labels[0] != pool or labels[1] in named or labels[1] == OTHER)

    def call_ended(self, pool: str, adapter: str, kind: OutcomeKind, seconds: float) -> None:
        """See :class:`service.workers.types.PoolObserver`."""
        self._calls.observe((pool, adapter if adapter in self._named.get(pool, ()) else OTHER, kind), seconds)

    def adapter_loaded(self, pool: str, ok: bool, seconds: float) -> None:
        """See :class:`service.workers.types.PoolObserver`."""
        self._loads[pool, "ok" if ok else "failed"].observe(seconds)

    def happened(self, pool: str, event: PoolEvent) -> None:
        """See :class:`service.workers.types.PoolObserver`."""
        counter, outcome = _COUNTED[event]
        self._events[counter][pool, *outcome].inc()

    def replica_changed(
        self, pool: str, url: str, ready: bool, breaker_state: str, resident: int, strangers: int
    ) -> None:
        """See :class:`service.workers.types.PoolObserver`."""
        self._ready[pool, url].set(ready)
        self._resident[pool, url].set(resident)
        self._strangers[pool, url].set(strangers)
        for state in BreakerState:
            self._breakers[pool, url, state].set(state == breaker_state)


def _of(in_flight: Callable[[], Mapping[str, int]], url: str) -> float:
    return float(in_flight()[url])
