"""Spans of a request, and a request that has none where nobody takes them."""

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.gateway import RunningGateway, running_gateway
from support.http import request
from support.otlp import Received, collector
from support.processes import free_port, wait_until
from support.stub_worker import StubProcess

from localrec.cli import main
from models.contract.bundle import Bundle

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
Configure = Callable[..., Any]


def ask(gateway: RunningGateway, path: str = "/recommend", body: Any = None, flag: str = "01") -> Any:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-{flag}", "X-Request-Id": "r-1"}
    return request(gateway.port, "POST", path, body or {"user_id": "u0"}, headers=headers)


def test_spans_of_a_request_are_one_trace(published: Bundle, stub: StubProcess, configure: Configure):
    with collector() as taken:
        tracing = {"otlp_endpoint": taken.endpoint, "sample": 0.0}  # the caller's word counts
        with running_gateway(configure(stub.url, tracing=tracing)) as gateway:
            gateway.wait_ready()
            assert ask(gateway).status == 200
            wait_until(lambda: "POST /recommend" in taken.of(TRACE))
            assert request(gateway.port, "POST", "/recommend", {"user_id": "u1"}).status == 200  # not sampled
            assert ask(gateway, flag="00").status == 200
        assert {span.trace_id for span in taken.spans} == {TRACE}
        spans = taken.of(TRACE)
    root, call = spans["POST /recommend"], spans["worker /v1/completions"]
    assert set(spans) == {root.name, call.name, "state", "plan", "fan_out", "fuse", "fill"}
    assert root.parent_id == PARENT
    assert root.attributes == {
        "localrec.route": "/recommend",
        "localrec.request_id": "r-1",
        "localrec.status": 200,
    }
    assert call.attributes == {"localrec.replica": stub.url, "localrec.outcome": "ok"}
    assert {span.parent_id for span in spans.values() if span is not root} == {root.span_id}
    assert all(within(span, root) for span in spans.values())
    assert within(call, spans["fan_out"])


def within(inner: Received, outer: Received) -> bool:
    slack_ns = 2_000_000  # lengths are of another clock than instants
    return inner.began_ns >= outer.began_ns - slack_ns and inner.ended_ns <= outer.ended_ns + slack_ns


def test_a_collector_that_is_not_there_costs_nothing(published: Bundle, stub: StubProcess, configure: Configure):
    tracing = {"otlp_endpoint": f"http://127.0.0.1:{free_port()}", "sample": 1.0}
    with running_gateway(configure(stub.url, tracing=tracing)) as gateway:
        gateway.wait_ready()
        for row in range(20):
            assert not gateway.recommend(f"u{row}")["degraded"]
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 15


def test_a_failed_request_says_so(published: Bundle, stub: StubProcess, configure: Configure):
    with collector() as taken:
        with running_gateway(configure(stub.url, tracing={"otlp_endpoint": taken.endpoint, "sample": 1.0})) as gateway:
            gateway.wait_ready()
            assert ask(gateway, body={"user_id": ""}).status == 422
            assert gateway.get("/nowhere").status == 404  # no route, no span
        spans = [span for span in taken.spans if span.name == "POST /recommend"]
        assert [span.attributes["localrec.status"] for span in spans] == [422]
        assert not [span for span in taken.spans if "nowhere" in span.name or "healthz" in span.name]


def test_without_the_extra_it_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("LOCALREC_TRACING__OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.delitem(sys.modules, "service.tracing.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SystemExit) as caught:
        main(["serve", "gateway", "--port", "0"])
    assert caught.value.code == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error == "localrec: tracing needs opentelemetry: pip install 'localrec[otel]'"
