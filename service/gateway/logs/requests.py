"""One line a request: all of those that went wrong, a sample of those that went well. Metrics count every one."""

import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

from service.gateway.logs.records import FIELDS
from service.gateway.privacy import hashed
from service.gateway.respond import Served
from service.gateway.telemetry import RequestLabels, Telemetry
from service.gateway.types import Trace
from service.tracing import SERVER_ERROR, Stage, Tracing

logger = logging.getLogger("service.gateway.requests")

HEALTHY = frozenset({"ok", "not_found", "unknown_item", "unknown_user", "client_gone"})
NO_TRACE = Trace()


class RequestLog:
    """Hears the end of every request.

    Args:
        telemetry: counts it.
        sample: share of those that went well that have a line, 0 to 1.
        tracing: makes spans of its stages; None: there is none.
        chance: a number in [0, 1) for each of them.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        sample: float,
        tracing: Tracing | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._tracing = tracing
        self._telemetry = telemetry
        self._sample = sample
        self._chance = chance

    def ended(
        self,
        labels: RequestLabels,
        seconds: float,
        status: int,
        request_id: str,
        key: str = "",
        trace: Trace = NO_TRACE,
        served: Served | None = None,
    ) -> None:
        """A request was answered.

        Args:
            labels: its metric's.
            seconds: from its head to its answer.
            status: of the answer.
            request_id: the caller's, or ours.
            key: name of the API key.
            trace: what its stages took.
            served: the answer, where there was a list.
        """
        self._telemetry.request_ended(labels, seconds, trace, request_id)
        if self._tracing is not None:
            _span(self._tracing, trace)
        late = seconds > trace.patience_seconds
        if labels.outcome in HEALTHY and not late and self._chance() >= self._sample:
            return
        fields: dict[str, Any] = {"request_id": request_id, "route": labels.route, "status": status}
        fields |= {"outcome": labels.outcome, "late": late, "total_ms": _ms(seconds), "key": key or None}
        fields["timings_ms"] = {stage: _ms(taken) for stage, taken in trace.seconds.items()}
        if served is not None:
            fields |= _of_answer(served)
        logger.log(_level(status, late or labels.outcome == "degraded"), "request", extra={FIELDS: fields})

    def stages_ended(self, trace: Trace) -> None:
        """A request of a batch was answered."""
        self._telemetry.stages_ended(trace)
        if self._tracing is not None:
            _span(self._tracing, trace)

    def shed(self, labels: RequestLabels, request_id: str) -> None:
        """A request was turned away unread. Of these, too, a sample has a line: a flood of them must cost little."""
        self._telemetry.request_ended(labels, 0.0, NO_TRACE)
        if self._chance() < self._sample:
            fields = {"request_id": request_id, "route": labels.route, "status": 503, "outcome": labels.outcome}
            logger.warning("request", extra={FIELDS: fields})


def _span(tracing: Tracing, trace: Trace) -> None:
    tracing.stages(Stage(name, began, began + trace.seconds.get(name, 0.0)) for name, began in trace.began.items())


def _of_answer(served: Served) -> Mapping[str, Any]:
    answer, assignment = served.answer, served.assignment
    return {
        "user": hashed(served.query.user_id),
        "pipeline": assignment.pipeline,
        "variants": dict(assignment.experiments),
        "bundle": served.snapshot.id,
        "degraded": answer.degraded,
        "reasons": [str(reason) for reason in answer.reasons],
        "n": len(answer.selection.items),
    }


def _level(status: int, is_impaired: bool) -> int:
    if status >= SERVER_ERROR:
        return logging.ERROR
    return logging.WARNING if is_impaired else logging.INFO


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
