"""Tracing by OpenTelemetry's SDK, over OTLP/HTTP. Spans wait in a bounded queue; what does not fit is dropped."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.tracing import Span, Stage

QUEUE_SPANS = 4_096
BATCH_SPANS = 512
EXPORT_INTERVAL_MS = 1_000
EXPORT_TIMEOUT_SECONDS = 2.0
FLUSH_SECONDS = 1.0


class OpenTelemetry:
    """See :class:`service.tracing.Tracing` and :func:`service.tracing.start_tracing`."""

    def __init__(self, endpoint: str, service: str, sample: float, chance: Callable[[], float] = random.random) -> None:
        self._exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_SECONDS)
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),
            resource=Resource.create({"service.name": service}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=QUEUE_SPANS,
                schedule_delay_millis=EXPORT_INTERVAL_MS,
                max_export_batch_size=BATCH_SPANS,
            )
        )
        self._sample = sample
        self._chance = chance
        self._tracer = self._provider.get_tracer("localrec")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """See :class:`service.tracing.Tracing`."""
        parent = self._propagator.extract(headers)
        is_begun = trace.get_current_span(parent).get_span_context().is_valid
        if not is_begun and self._chance() >= self._sample:
            yield NO_SPAN  # the SDK's own sampler would cost each request that is not sampled half of what a trace does
            return
        with self._tracer.start_as_current_span(name, parent, SpanKind.SERVER, record_exception=False) as span:
            yield _Span(span)

    def call(self, name: str, headers: dict[str, str]) -> AbstractContextManager[Span]:
        """See :class:`service.tracing.Tracing`."""
        if not trace.get_current_span().get_span_context().is_valid:
            return nullcontext(NO_SPAN)
        return self._call(name, headers)

    @contextmanager
    def _call(self, name: str, headers: dict[str, str]) -> Iterator[Span]:
        with self._tracer.start_as_current_span(name, kind=SpanKind.CLIENT, record_exception=False) as span:
            self._propagator.inject(headers)
            yield _Span(span)

    def stages(self, stages: Iterable[Stage]) -> None:
        """See :class:`service.tracing.Tracing`."""
        if not trace.get_current_span().is_recording():
            return
        to_wall = time.time_ns() - round(time.perf_counter() * 1e9)
        for stage in stages:
            span = self._tracer.start_span(stage.name, start_time=to_wall + round(stage.began * 1e9))
            span.end(to_wall + round(stage.ended * 1e9))

    def close(self) -> None:
        """See :class:`service.tracing.Tracing`. The SDK itself would wait for each batch's timeout in turn."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(FLUSH_SECONDS)
        if closing.is_alive():
            cast(Any, self._exporter).shutdown()  # untyped in some versions


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, **attributes: str | int | float | bool) -> None:
        """See :class:`service.tracing.Span`."""
        self._span.set_attributes({f"localrec.{name}": value for name, value in attributes.items()})

    def failed(self, why: str) -> None:
        """See :class:`service.tracing.Span`."""
        self._span.set_status(StatusCode.ERROR, why)


NO_SPAN = _Span(trace.INVALID_SPAN)
