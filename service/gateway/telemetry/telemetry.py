"""Metrics of requests and of what they are answered from; those of workers and Redis are parts of their own."""

import math
from collections.abc import Callable
from importlib.metadata import version
from itertools import product
from typing import Any, NamedTuple, cast, get_args

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from models.contract.records import EventType
from service.gateway.telemetry.pools import PoolTelemetry
from service.gateway.telemetry.redis import RedisTelemetry
from service.gateway.telemetry.series import LATENCY_BUCKETS, Series
from service.gateway.types import Answer, Assignment, Trace

PROCESSES = "localrec_processes"  # the one metric that speaks of all processes of a gateway
WIDTH_BUCKETS = (0, 1, 2, 3, 5, 8, 10, 15, 20, 50, 100)
# Why a fallback filled up: the first reason that degrades, or that nobody knows the user. Where there is neither, the
# model's list was shorter than was asked for.
UNKNOWN_USER, SHORT = "unknown_user", "short"


_openmetrics: Any = openmetrics_exposition.generate_latest  # it has no types


class RequestLabels(NamedTuple):
    """Labels of a request's latency. Pipeline and variant are empty where it failed before it had one."""

    route: str
    pipeline: str = ""
    variant: str = ""
    outcome: str = "internal"


class Telemetry:
    """The metrics of one process, in a registry of their own. ``pools`` and ``redis`` are told by those."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        series = self._series = Series(self.registry)
        self._describe_requests(series)
        self._describe_answers(series)
        self._describe_bundles(series)
        self.pools = PoolTelemetry(series)
        self.redis = RedisTelemetry(series)

    def _describe_requests(self, series: Series) -> None:
        self._requests = series.distribution(
            "request_seconds",
            "From a request's head to its answer, those that were refused or turned away too",
            RequestLabels._fields,
            LATENCY_BUCKETS,
        )
        self._late = series.counter(
            "requests_late", "Answers of /recommend that came after their own deadline", ("pipeline", "variant")
        )
        self._stages = series.distribution(
            "stage_seconds", "Stages of a request, failed ones too", ("stage",), LATENCY_BUCKETS
        )
        self._shed = series.counter(
            "shed", "Requests turned away unread, by priority class", ("class",), ("interactive",), ("batch",)
        )
        self._access = series.counter(
            "access", "Requests by API key (empty: none was right) and decision", ("key", "outcome")
        )
        self._events = series.counter(
            "events",
            "What users did, by what became of it",
            ("type", "outcome"),
            *product(get_args(EventType), ("accepted", "duplicate", "failed")),
        )

    def _describe_answers(self, series: Series) -> None:
        self._width = series.distribution(
            "fan_out_width", "Communities asked and answered a request", ("calls",), WIDTH_BUCKETS
        )
        self._reasons = series.counter("reasons", "Reasons given with answers", ("code",))
        self._degraded = series.counter(
            "degraded", "Answers in which something planned is missing, by the first reason", ("pipeline", "reason")
        )
        self._fallbacks = series.counter(
            "fallbacks",
            "Answers that a fallback filled up, by the first reason; short: the model's list was",
            ("pipeline", "source", "reason"),
        )
        self._items = series.counter("items_served", "Items by where they came from", ("source",))
        self._variants = series.counter("assignments", "Requests by variant", ("experiment", "variant"))
        self._exposures = series.counter(
            "exposures", "Lists for the exposure stream", ("outcome",), ("written",), ("dropped",)
        )
        self._shadows = series.counter("shadows", "Shadow variants tried", ("shadow", "outcome"))
        self._cache = series.counter("cache", "Answers by what the result cache had of them", ("outcome",))

    def _describe_bundles(self, series: Series) -> None:
        self._bundle = series.gauge("bundle_info", "1 for the bundle in service", ("bundle",))
        self._hidden = series.gauge("items_hidden", "Items that operators have taken out of every list")
        outcomes = (("loaded",), ("refused",), ("in_service",))
        self._bundle_events = series.counter(
            "bundle_events", "Bundles loaded, refused, put in service", ("outcome",), *outcomes
        )
        self._reloads = series.counter(
            "experiments_reloads", "Changed files of experiments", ("outcome",), ("loaded",), ("refused",)
        )
        self._processes = series.gauge(
            "processes", "Processes of this gateway that answered this scrape, and that did not", ("state",)
        )
        self.processes(answering=1, silent=0)
        series.gauge("build_info", "1 for the version that runs", ("version",)).labels(version("localrec")).set(1)

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
            self._series.gauge(name, text).set_function(value)

    def watch_health(self, is_ready: Callable[[], bool], hears_redis: Callable[[], bool]) -> None:
        """Ask for it whenever metrics are read."""
        self._series.gauge("ready", "1 where /readyz says 200").set_function(lambda: float(is_ready()))
        self._series.gauge("redis_up", "1 where Redis was heard of late").set_function(lambda: float(hears_redis()))

    def shed(self, priority: str) -> None:
        """A request was turned away."""
        self._shed[(priority,)].inc()

    def cache(self, outcome: str) -> None:
        """An answer was found, shared or made."""
        self._cache[(outcome,)].inc()

    def answered(self, answer: Answer, assignment: Assignment) -> None:
        """Observe what an answer says."""
        pipeline, kind = assignment.pipeline, assignment.settings.kind
        sources = answer.selection.sources
        for source in set(sources):
            self._items[(source,)].inc(sources.count(source))
            if source != kind:
                self._fallbacks[pipeline, source, _why_filled(answer)].inc()
        for experiment, variant in assignment.experiments.items():
            self._variants[experiment, variant].inc()
        if answer.calls_asked:
            self._width.observe(("asked",), answer.calls_asked)
            self._width.observe(("answered",), answer.calls_answered)
        for reason in answer.reasons:
            self._reasons[(reason.code,)].inc()
        if answer.degraded:
            first = next(reason.code for reason in answer.reasons if reason.degrades)
            self._degraded[pipeline, first].inc()

    def request_ended(self, labels: RequestLabels, seconds: float, trace: Trace, request_id: str = "") -> None:
        """Observe a request, however it ended; its id is the exemplar of its bucket."""
        self._requests.observe(labels, seconds, request_id)
        if trace.patience_seconds < math.inf:
            late = self._late[labels.pipeline, labels.variant]
            if seconds > trace.patience_seconds:
                late.inc()
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
        self._reloads[(outcome,)].inc()

    def access(self, key: str, outcome: str) -> None:
        """A request was let in (``ok``) or refused; the names of keys are bounded by the keys file."""
        self._access[key, outcome].inc()

    def bundle_changed(self, bundle_id: str, outcome: str) -> None:
        """A bundle was ``loaded`` or ``refused``, or is ``in_service`` from now on."""
        self._bundle_events[(outcome,)].inc()
        if outcome == "in_service":
            self._bundle.clear()
            self._bundle.labels(bundle_id).set(1)

    def processes(self, answering: int, silent: int) -> None:
        """So many processes answer for themselves, and so many do not."""
        self._processes.labels("answering").set(answering)
        self._processes.labels("silent").set(silent)

    def items_hidden(self, count: int) -> None:
        """So many items are hidden from now on."""
        self._hidden.set(count)

    def exposition(self, openmetrics: bool = False) -> bytes:
        """The metrics in Prometheus' text format, or in OpenMetrics', which has the exemplars."""
        return cast(bytes, _openmetrics(self.registry)) if openmetrics else generate_latest(self.registry)


def _why_filled(answer: Answer) -> str:
    return next((each.code for each in answer.reasons if each.degrades or each.code == UNKNOWN_USER), SHORT)
