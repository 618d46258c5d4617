"""OpenTelemetry traces, optional: a request's spans over gateway, Redis and workers, exported in the background."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from models.contract.errors import MissingExtraError

SERVER_ERROR = 500


class Stage(NamedTuple):
    """A part of a request: from when to when, in seconds of ``time.perf_counter``."""

    name: str
    began: float
    ended: float


class Span(Protocol):
    """Something that takes time, and what is said of it."""

    def note(self, **attributes: str | int | float | bool) -> None:
        """Say more of it."""
        ...

    def failed(self, why: str) -> None:
        """It did not end as it should have."""
        ...


def note_status(span: Span, status: int) -> None:
    """Say how a request was answered; one that the service failed did not end as it should have."""
    span.note(status=status)
    if status >= SERVER_ERROR:
        span.failed(f"status {status}")


class Tracing(Protocol):
    """Makes spans. Never fails a request, and never makes one wait."""

    def request(self, name: str, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """A request that arrived, in the trace of its caller's ``traceparent`` where there is one."""
        ...

    def call(self, name: str, headers: dict[str, str]) -> "AbstractContextManager[Span]":
        """A call made for the request at hand; ``headers`` get the ``traceparent``. Outside of one, nothing happens."""
        ...

    def stages(self, stages: Iterable[Stage]) -> None:
        """Parts of the request at hand that are over."""
        ...

    def close(self) -> None:
        """Export what waits, for a moment at most. Blocks."""
        ...


def start_tracing(endpoint: str, service: str, sample: float) -> Tracing:
    """Traces to a collector.

    Args:
        endpoint: of OTLP over HTTP, without a path.
        service: name of the service in the traces.
        sample: share of the requests without a ``traceparent`` that begin a trace, 0 to 1.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """
    try:
        from service.tracing.otel import OpenTelemetry
    except ModuleNotFoundError as exc:
        raise MissingExtraError(f"tracing needs {exc.name}: pip install 'localrec[otel]'") from exc
    return OpenTelemetry(endpoint, service, sample)
