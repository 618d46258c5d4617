"""Every metric of the gateway. ``labels()`` is slow, so children are looked up once and kept."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from models.contract.records import EventType
from service.gateway.distribution import Distribution
from service.gateway.types import Answer, Assignment, Trace
from service.workers.breaker import BreakerState
from service.workers.types import OutcomeKind, PoolEvent

LATENCY_BUCKETS = (
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    1.0,
    2.0,
)
LOAD_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
WIDTH_BUCKETS = (0, 1, 2, 3, 5, 8, 10, 15, 20, 50, 100)
M = TypeVar("M", bound=Counter | Gauge | Histogram)


class _Children(dict[tuple[str, ...], M]):
    """Children of a metric by their label values."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, values: tuple[str, ...]) -> M:
        child = self[values] = cast(M, self._metric.labels(*values))
        return child


class RequestLabels(NamedTuple):
    """Labels of a request's latency. Pipeline and variant are empty where it failed before it had one."""

    route: str
    pipeline: str = ""
    variant: str = ""
    outcome: str = "internal"


class Telemetry:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._describe_requests()
        self._describe_workers()
        self._describe_bundles()
        self._access = _Children(
            self._counter("access", "Requests by API key (empty: none was right) and decision", ("key", "outcome"))
        )

    def _describe_requests(self) -> None:
        self._requests = self._distribution(
            "request_seconds", "From a request's head to its answer", RequestLabels._fields, LATENCY_BUCKETS
        )
        self._stages = self._distribution(
            "stage_seconds", "Stages of a request, failed ones too", ("stage",), LATENCY_BUCKETS
        )
        self._width = self._distribution(
            "fan_out_width", "Communities asked and answered a request", ("calls",), WIDTH_BUCKETS
        )
        self._reasons = _Children(self._counter("reasons", "Reasons given with answers", ("code",)))
        self._degraded = _Children(
            self._counter("degraded", "Answers in which something planned is missing", ("pipeline",))
        )
        self._items = _Children(self._counter("items_served", "Items by where they came from", ("source",)))
        self._variants = _Children(self._counter("assignments", "Requests by variant", ("experiment", "variant")))
        self._exposures = _Children(self._counter("exposures", "Lists for the exposure stream", ("outcome",)))
        self._events = _Children(self._counter("events", "What users did, by what became of it", ("type", "outcome")))
        self._shadows = _Children(self._counter("shadows", "Shadow variants tried", ("shadow", "outcome")))
        self._reloads = self._counter("experiments_reloads", "Changed files of experiments", ("outcome",))
        self._cache = _Children(self._counter("cache", "Answers by what the result cache had of them", ("outcome",)))
        self._shed = _Children(self._counter("shed", "Requests turned away unread, by priority class", ("class",)))

    def _describe_workers(self) -> None:
        labels = ("pool", "adapter", "outcome")
        self._calls = self._distribution("worker_call_seconds", "Worker calls", labels, LATENCY_BUCKETS)
        self._pool_events = self._count_of_pool_events()
        self._loads = _Children(
            self._histogram("adapter_load_seconds", "Adapter loads at run time", ("pool", "outcome"), LOAD_BUCKETS)
        )
        self._ready = _Children(
            self._gauge(
                "worker_ready", "1 where the replica has what it should have of an expected bundle", ("pool", "replica")
            )
        )
        self._resident = _Children(
            self._gauge("adapters_resident", "Adapters loaded and proven on the replica", ("pool", "replica"))
        )
        self._strangers = _Children(
            self._gauge(
                "adapters_strange", "Adapters on the replica that this gateway did not load", ("pool", "replica")
            )
        )
        self._breakers = _Children(
            self._gauge("breaker_state", "1 for the state that the breaker is in", ("pool", "replica", "state"))
        )

    def _count_of_pool_events(self) -> dict[PoolEvent, Callable[[str], Counter]]:
        """Each event's counter by pool."""
        misses = self._counter("adapter_misses", "Calls that found their adapter missing", ("pool",))
        unloads = self._counter("adapter_unloads", "Adapters unloaded", ("pool",))
        evictions = self._counter("adapter_evictions", "Adapters unloaded for the sake of another one", ("pool",))
        probes = self._counter("adapter_probes", "Adapters asked to prove what they are", ("pool", "outcome"))
        hedges = self._counter("hedges", "Calls made a second time, and those that were quicker", ("pool", "outcome"))
        return {
            PoolEvent.ADAPTER_MISSED: misses.labels,
            PoolEvent.ADAPTER_UNLOADED: unloads.labels,
            PoolEvent.ADAPTER_EVICTED: evictions.labels,
            PoolEvent.PROBE_PASSED: lambda pool: probes.labels(pool, "passed"),
            PoolEvent.PROBE_FAILED: lambda pool: probes.labels(pool, "failed"),
            PoolEvent.PROBE_UNANSWERED: lambda pool: probes.labels(pool, "unanswered"),
            PoolEvent.HEDGE_SENT: lambda pool: hedges.labels(pool, "sent"),
            PoolEvent.HEDGE_WON: lambda pool: hedges.labels(pool, "won"),
        }

    def _describe_bundles(self) -> None:
        self._bundle = self._gauge("bundle_info", "1 for the bundle in service", ("bundle",))
        self._hidden = self._gauge("items_hidden", "Items that operators have taken out of every list", ())
        self._bundle_events = self._counter("bundle_events", "Bundles loaded, refused, put in service", ("outcome",))

    def watch_traffic(
        self,
        in_flight: Callable[[], int],
        limit: Callable[[], int],
        late_seconds: Callable[[], float],
        quality: Callable[[], float],
    ) -> None:
        """Ask for these numbers whenever metrics are read."""
        for name, text, value in (
            ("requests_in_flight", "Requests being answered now", in_flight),
            ("concurrency_limit", "Requests that may be answered at one time now", limit),
            ("event_loop_lag_seconds", "How late the event loop ran its timers of late", late_seconds),
            ("quality_factor", "1 where everything is done for a request, less under pressure", quality),
        ):
            Gauge(f"localrec_{name}", text, registry=self.registry).set_function(value)

    def shed(self, priority: str) -> None:
        """A request was turned away."""
        self._shed[(priority,)].inc()

    def cache(self, outcome: str) -> None:
        """An answer was found, shared or made."""
        self._cache[(outcome,)].inc()

    def answered(self, answer: Answer, assignment: Assignment) -> None:
        """Observe what an answer says."""
        pipeline = assignment.pipeline
        sources = answer.selection.sources
        for source in set(sources):
            self._items[(source,)].inc(sources.count(source))
        for experiment, variant in assignment.experiments.items():
            self._variants[experiment, variant].inc()
        if answer.calls_asked:
            self._width.observe(("asked",), answer.calls_asked)
            self._width.observe(("answered",), answer.calls_answered)
        for reason in answer.reasons:
            self._reasons[(reason.code,)].inc()
        if answer.degraded:
            self._degraded[(pipeline,)].inc()

    def request_ended(self, labels: RequestLabels, seconds: float, trace: Trace) -> None:
        """Observe a request, however it ended."""
        self._requests.observe(labels, seconds)
        self.stages_ended(trace)

    def stages_ended(self, trace: Trace) -> None:
        """Observe the stages of a request, or of one of a batch."""
        for stage, taken in trace.seconds.items():
            self._stages.observe((stage,), taken)

    def exposures(self, outcome: str, count: int) -> None:
        """Exposures ``written`` or ``dropped``."""
        self._exposures[(outcome,)].inc(count)

    def events(self, kind: EventType, outcome: str) -> None:
        """An event was ``accepted``, a ``duplicate``, or ``failed``, as Redis did not answer."""
        self._events[kind, outcome].inc()

    def shadow_ended(self, shadow: str, outcome: str) -> None:
        """A shadow variant was ``answered``, ``degraded``, ``dropped`` or ``failed``."""
        self._shadows[shadow, outcome].inc()

    def experiments_changed(self, outcome: str) -> None:
        """A changed file of experiments was ``loaded`` or ``refused``."""
        self._reloads.labels(outcome).inc()

    def call_ended(self, pool: str, adapter: str, kind: OutcomeKind, seconds: float) -> None:
        """See :class:`service.workers.types.PoolObserver`."""
        self._calls.observe((pool, adapter, kind), seconds)

    def adapter_loaded(self, pool: str, ok: bool, seconds: float) -> None:
        """See :class:`service.workers.types.PoolObserver`."""
        self._loads[pool, "ok" if ok else "failed"].observe(seconds)

    def happened(self, pool: str, event: PoolEvent) -> None:
        """See :class:`service.workers.types.PoolObserver`."""
        self._pool_events[event](pool).inc()

    def replica_changed(
        self, pool: str, url: str, ready: bool, breaker_state: str, resident: int, strangers: int
    ) -> None:
        """See :class:`service.workers.types.PoolObserver`."""
        self._ready[pool, url].set(ready)
        self._resident[pool, url].set(resident)
        self._strangers[pool, url].set(strangers)
        for state in BreakerState:
            self._breakers[pool, url, state].set(state == breaker_state)

    def access(self, key: str, outcome: str) -> None:
        """A request was let in (``ok``) or refused; the names of keys are bounded by the keys file."""
        self._access[key, outcome].inc()

    def bundle_changed(self, bundle_id: str, outcome: str) -> None:
        """A bundle was ``loaded`` or ``refused``, or is ``in_service`` from now on."""
        self._bundle_events.labels(outcome).inc()
        if outcome == "in_service":
            self._bundle.clear()
            self._bundle.labels(bundle_id).set(1)

    def items_hidden(self, count: int) -> None:
        """So many items are hidden from now on."""
        self._hidden.set(count)

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"localrec_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"localrec_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"localrec_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _distribution(self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> Distribution:
        return Distribution(f"localrec_{name}", text, labels, bounds, self.registry)
