"""What is counted of requests and answers, and under which labels."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from models.contract.selection import Selection
from service.gateway.telemetry import RequestLabels, Telemetry
from service.gateway.types import Answer, Assignment, Reason, Trace

LOCAL = Assignment("shop", cast(Any, SimpleNamespace(kind="local")), {})


def lines(telemetry: Telemetry, start: str) -> list[str]:
    return [line for line in telemetry.exposition().decode().splitlines() if line.startswith(f"localrec_{start}")]


def answer(*sources: str, reasons: tuple[Reason, ...] = ()) -> Answer:
    n = len(sources)
    return Answer(Selection(np.arange(n), np.zeros(n), sources), {}, reasons, 0, 0)


def trace(patience_seconds: float) -> Trace:
    made = Trace()
    made.patience_seconds = patience_seconds
    return made


def test_an_answer_is_late_by_its_own_deadline_and_others_make_the_series_begin_at_zero():
    telemetry, labels = Telemetry(), RequestLabels("/recommend", "local", "e:a", "ok")
    telemetry.request_ended(labels, 0.3, trace(0.4))
    assert lines(telemetry, "requests_late_total") == [
        'localrec_requests_late_total{pipeline="local",variant="e:a"} 0.0'
    ]
    telemetry.request_ended(labels, 0.3, trace(0.2))
    telemetry.request_ended(RequestLabels("/events", outcome="ok"), 9.0, Trace())  # has no deadline
    assert lines(telemetry, "requests_late_total") == [
        'localrec_requests_late_total{pipeline="local",variant="e:a"} 1.0'
    ]


@pytest.mark.parametrize(
    ("reasons", "why"),
    [
        ((), "short"),
        ((Reason("unknown_user"),), "unknown_user"),
        ((Reason("capped"), Reason("worker_timeout", "c01", degrades=True)), "worker_timeout"),
    ],
)
def test_a_fallback_is_counted_once_an_answer_with_its_reason(reasons: tuple[Reason, ...], why: str):
    telemetry = Telemetry()
    telemetry.answered(answer("local", "cf", "cf", reasons=reasons), LOCAL)
    telemetry.answered(answer("local", "local"), LOCAL)
    assert lines(telemetry, "fallbacks_total") == [
        f'localrec_fallbacks_total{{pipeline="shop",reason="{why}",source="cf"}} 1.0'
    ]


def test_a_degraded_answer_counts_once_by_its_first_reason_that_degrades():
    telemetry, worse = Telemetry(), [Reason(f"worker_{kind}", degrades=True) for kind in ("timeout", "refused")]
    telemetry.answered(answer("local", reasons=(Reason("capped"), *worse)), LOCAL)
    assert lines(telemetry, "degraded_total") == [
        'localrec_degraded_total{pipeline="shop",reason="worker_timeout"} 1.0'
    ]


def test_the_bundle_in_service_is_the_only_one_that_is_named():
    telemetry = Telemetry()
    assert lines(telemetry, "bundle_info") == []
    telemetry.bundle_changed("old", "in_service")
    telemetry.bundle_changed("new", "loaded")
    assert lines(telemetry, "bundle_info") == ['localrec_bundle_info{bundle="old"} 1.0']
    telemetry.bundle_changed("new", "in_service")
    telemetry.bundle_changed("broken", "refused")
    assert lines(telemetry, "bundle_info") == ['localrec_bundle_info{bundle="new"} 1.0']


def test_counters_that_alerts_look_at_begin_at_zero():
    telemetry = Telemetry()
    for name in ("shed_total", "exposures_total", "bundle_events_total", "experiments_reloads_total"):
        assert [line.rsplit(" ", 1)[1] for line in lines(telemetry, name)] in (["0.0"] * 2, ["0.0"] * 3)


def test_a_request_marks_its_bucket_for_those_who_ask_in_openmetrics():
    telemetry, labels = Telemetry(), RequestLabels("/recommend", "local", "", "ok")
    telemetry.request_ended(labels, 0.004, Trace(), "first")
    telemetry.request_ended(labels, 0.004, Trace(), "second")
    telemetry.request_ended(labels, 9.0, Trace(), "slow")
    text = telemetry.exposition(openmetrics=True).decode()
    families = {family.name: family for family in parse_openmetrics(text)}
    marked = {s.labels["le"]: s.exemplar for s in families["localrec_request_seconds"].samples if s.exemplar}
    assert {le: (each.labels, each.value) for le, each in marked.items()} == {
        "0.005": ({"request_id": "second"}, 0.004),
        "+Inf": ({"request_id": "slow"}, 9.0),
    }
    plain = {family.name for family in parse_text(telemetry.exposition().decode())}
    assert {name for name in plain if not name.endswith("_created")} == set(families)
    assert "# {" not in telemetry.exposition().decode()


def test_the_version_that_runs_is_named():
    (line,) = lines(Telemetry(), "build_info")
    assert line.startswith('localrec_build_info{version="')
