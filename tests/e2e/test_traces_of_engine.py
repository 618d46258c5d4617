"""One request's trace over the real gateway and the real engine."""

import json
from pathlib import Path

import pytest
from support.http import request
from support.otlp import collector
from support.processes import wait_until
from support.runs import FinishedRun

from localrec.stack import running_stack

pytestmark = pytest.mark.redis
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARTS = {"worker /v1/fanout", "POST /v1/fanout", "queue", "batch", "state", "plan", "fan_out", "fuse", "fill"}


def test_gateway_and_engine_tell_one_trace(
    tiny_run: FinishedRun, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = tiny_run.bundle.path("items.jsonl").read_text().splitlines()
    history = [json.loads(line)["item_id"] for line in lines[:3]]
    with collector() as taken:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", taken.endpoint)
        settings = {"LOCALREC_TRACING__OTLP_ENDPOINT": taken.endpoint, "LOCALREC_TRACING__SAMPLE": "0"}
        with running_stack(tiny_run.bundle, short_tmp, environment=settings) as stack:
            body = {"user_id": "somebody", "history": history, "deadline_ms": 10_000}
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "whole"}
            reply = request(stack.gateway_port, "POST", "/recommend", body, headers=headers)
            assert not reply.json["degraded"], reply.json["reasons"]
            wait_until(lambda: {"POST /recommend", *PARTS} <= set(taken.of(TRACE)), 15, "the spans")
        spans = taken.of(TRACE)
    root, call, served = spans["POST /recommend"], spans["worker /v1/fanout"], spans["POST /v1/fanout"]
    assert (root.service, root.parent_id) == ("localrec-gateway", PARENT)
    assert (call.service, call.parent_id) == ("localrec-gateway", root.span_id)
    assert (served.service, served.parent_id) == ("localrec-engine", call.span_id)
    assert served.attributes == {"localrec.status": 200, "localrec.request_id": "whole"}
    assert {spans[name].parent_id for name in ("queue", "batch")} == {served.span_id}
    assert spans["queue"].ended_ns == spans["batch"].began_ns
    assert {span.trace_id for span in taken.spans} == {TRACE}
