"""Which requests have a line, and what it says of them."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from models.contract.selection import Selection
from service.gateway.logs.records import FIELDS
from service.gateway.logs.requests import RequestLog
from service.gateway.respond import Served
from service.gateway.telemetry import RequestLabels, Telemetry
from service.gateway.types import Answer, Assignment, Query, Reason, Trace

OK = RequestLabels("/recommend", "shop", "e:a", "ok")


def served(reasons: tuple[Reason, ...] = ()) -> Served:
    assignment = Assignment("shop", cast(Any, SimpleNamespace(kind="local")), {"e": "a"})
    answer = Answer(Selection(np.arange(3), np.zeros(3), ("local",) * 3), {}, reasons, 0, 0)
    return Served(Query("somebody", 3), answer, assignment, cast(Any, SimpleNamespace(id="b1")))


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    """Level and fields of each line."""
    found: list[Any] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((record.levelname, getattr(record, FIELDS)))

    logger, handler = logging.getLogger("service.gateway.requests"), Handler()
    logger.addHandler(handler)
    with caplog.at_level(logging.INFO, logger.name):
        yield found
    logger.removeHandler(handler)


def log(sample: float = 0.5, chance: float = 0.5) -> RequestLog:
    return RequestLog(Telemetry(), sample, chance=lambda: chance)


@pytest.mark.parametrize(("sample", "chance", "lines"), [(0.0, 0.0, 0), (0.5, 0.5, 0), (0.5, 0.49, 1), (1.0, 0.99, 1)])
def test_requests_that_went_well_are_sampled(told: list[Any], sample: float, chance: float, lines: int):
    log(sample, chance).ended(OK, 0.01, 200, "r", served=served())
    assert len(told) == lines


def test_a_line_says_everything_but_who_the_user_is(told: list[Any]):
    trace = Trace()
    trace.note("state", 0.0012)
    log(1.0).ended(OK, 0.0123456, 200, "r", "shop-key", trace, served())
    ((level, fields),) = told
    assert level == "INFO"
    assert len(fields.pop("user")) == 16
    assert fields == {
        "request_id": "r",
        "route": "/recommend",
        "status": 200,
        "outcome": "ok",
        "late": False,
        "total_ms": 12.346,
        "key": "shop-key",
        "timings_ms": {"state": 1.2},
        "pipeline": "shop",
        "variants": {"e": "a"},
        "bundle": "b1",
        "degraded": False,
        "reasons": [],
        "n": 3,
    }
    assert "somebody" not in str(told)


def test_what_went_wrong_has_a_line_always(told: list[Any]):
    quiet, late = log(0.0), Trace()
    late.patience_seconds = 0.2
    degraded = served((Reason("worker_timeout", "c01", degrades=True),))
    quiet.ended(OK, 0.3, 200, "late", trace=late, served=served())
    quiet.ended(OK._replace(outcome="degraded"), 0.1, 200, "degraded", served=degraded)
    quiet.ended(RequestLabels("/events", outcome="store_unavailable"), 0.1, 503, "down")
    quiet.ended(RequestLabels("/events", outcome="invalid_request"), 0.1, 422, "wrong")
    assert [(level, fields["request_id"]) for level, fields in told] == [
        ("WARNING", "late"),
        ("WARNING", "degraded"),
        ("ERROR", "down"),
        ("INFO", "wrong"),
    ]
    assert told[1][1]["reasons"] == ["worker_timeout:c01"]


def test_of_those_turned_away_there_is_a_sample_too(told: list[Any]):
    log(0.0).shed(RequestLabels("/recommend", outcome="overloaded"), "r")
    assert told == []
    log(1.0).shed(RequestLabels("/recommend", outcome="overloaded"), "r")
    assert [fields["outcome"] for _, fields in told] == ["overloaded"]
